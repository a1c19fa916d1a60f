"""What a JSON file looks like from outside: enough of it to tell formats apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pdlm_cli.json_stream import Item


@dataclass(frozen=True)
class Shape:
    """beginning: by key of the file, the first item of a list, or the value. Key None: the file is no object."""

    beginning: dict[str | None, Any]

    def has(self, *keys: str) -> bool:
        return all(key in self.beginning for key in keys)

    def first(self, key: str | None) -> dict[str, Any]:
        """The first item under a key, or of the list that the file is; {} if that is no object."""
        value = self.beginning.get(key)
        return value if isinstance(value, dict) else {}

    def describe(self) -> str:
        if None not in self.beginning:
            keys = ", ".join(repr(key) for key in list(self.beginning)[:10])
            return f"an object with the keys {keys or '(none)'}"
        value = self.beginning[None]
        if isinstance(value, dict):
            return f"a list of objects with the keys {', '.join(map(repr, list(value)[:10])) or '(none)'}"
        return "an empty list" if value == [] else f"a list of items like {value!r:.40}, or that alone"


def shape_of(items: Iterable[Item]) -> Shape:
    """Look at a file until its format can be told: to the end only if it never shows what it holds."""
    beginning: dict[str | None, Any] = {}
    for key, _, value in items:
        if key is None:
            beginning[key] = value
            if isinstance(value, dict) and value.get("annotations") == []:
                continue  # an image without regions; another one will show what regions look like
            break
        beginning.setdefault(key, value)
        if "annotations" in beginning and ("images" in beginning or "image" in beginning):
            break
    return Shape(beginning)


def remedy(shape: Shape) -> str:
    """What to do about a file that no reader is for, if it is known what it is; to be put behind an error."""
    region = shape.first(None)
    if "image_id" in region and ("segmentation" in region or "bbox" in region):
        return (
            "; COCO results have no file names of their images: put them, each with an 'id', in place of the "
            "'annotations' of the file of ground truth, as docs/inputs.md does"
        )
    if "segmentation" in region:
        return "; SAM's list of regions is read beside its picture, under the same name"
    return ""
