"""SA-1B: one image and its annotations in one JSON file; or a folder of such files, see folder.py."""

from collections.abc import Iterable
from typing import Any, Final

from pdlm_cli.json_stream import Item
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import ImageRecord, Records, RegionRecord, id_at, name_at, object_at, shown, size_at

NAME = "sa-1b"
EXPECTED = "SA-1B: an object with 'image' and 'annotations', or a folder of such files"
REGION_IDS: Final = "image"


def recognises(shape: Shape) -> bool:
    return isinstance(shape.beginning.get("image"), dict) and shape.has("annotations")


def read(items: Iterable[Item]) -> Records:
    image: ImageRecord | None = None
    waiting: list[tuple[dict[str, Any], str]] = []  # annotations before the image, of a file written by others
    for key, index, value in items:
        if key == "image":
            entry = object_at(value, "'image'")
            name = name_at(entry, "file_name", "'image'", "below the images folder")
            image = ImageRecord(id_at(entry, "image_id", "'image'"), name, *size_at(entry, "'image'"))
            yield image
            yield from (_region(image, *annotation) for annotation in waiting)
        elif key == "annotations" and (index is not None or value != []):
            if index is None:
                raise ValueError(f"'annotations' must be a list, found {shown(value)}")
            annotation = object_at(value, f"annotations[{index}]"), f"annotations[{index}]"
            if image is None:
                waiting.append(annotation)
            else:
                yield _region(image, *annotation)
    if image is None:
        raise ValueError(f"there is no 'image'; expected {EXPECTED}")


def _region(image: ImageRecord, annotation: dict[str, Any], where: str) -> RegionRecord:
    return RegionRecord(image.image_id, id_at(annotation, "id", where), annotation.get("segmentation"))
