"""What readers give: images, regions and category names, in any order; and the checks that all readers share."""

import hashlib
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pdlm_cli.json_stream import Item
from pdlm_cli.regions import Embedded

MAX_PIXELS_A_SIDE = 2**31 - 1  # what the table's columns hold


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image, as regions.ImageEntry has it."""

    image_id: str
    file_name: str
    width: int | None = None
    height: int | None = None
    embedded: Embedded | None = None


@dataclass(frozen=True, slots=True)
class RegionRecord:
    """One region of the image `image_id`, which may come later in the file. Its place in the stream is its
    source_index.

    category: its name; or category_key: which CategoryRecord names it. mask: see masks.py; any JSON value.
    """

    image_id: str
    region_id: str
    mask: Any
    category: str | None = None
    category_key: str | None = None
    crowd: bool = False
    prompt: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    key: str
    name: str


Record = ImageRecord | RegionRecord | CategoryRecord
Records = Iterator[Record]


def object_at(value: Any, where: str) -> dict[str, Any]:
    """The value, which must be an object; where: its place in the file, for errors. Raises ValueError, as all here."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, found {shown(value)}")
    return value


def list_at(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list, found {shown(value)}")
    return value


def whole(value: Any) -> Any:
    """7 for 7.0, as JSON has one kind of number and some tools write all with a point; other values as they are."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def id_at(item: dict[str, Any], key: str, where: str) -> str:
    """Ids are whole numbers or text; 7 and "7" are the same id, as they are in the output."""
    found = whole(item.get(key))
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        raise ValueError(f"{where} needs '{key}', a whole number or text; found {shown(found)}")
    return text(str(found), f"{where} '{key}'")


def name_at(item: dict[str, Any], key: str, where: str, what: str) -> str:
    """A text that is not empty; what: it is meant to be."""
    found = item.get(key)
    if not isinstance(found, str) or not found:
        raise ValueError(f"{where} needs '{key}', {what}; found {shown(found)}")
    return text(found, f"{where} '{key}'")


def size_at(item: dict[str, Any], where: str) -> tuple[int | None, int | None]:
    """width, height in pixels, None where nothing is said."""
    width, height = (_pixels(item, key, where) for key in ("width", "height"))
    return width, height


def category_at(item: dict[str, Any], where: str) -> CategoryRecord:
    name = item.get("name")
    if not isinstance(name, str):
        raise ValueError(f"{where} needs 'name', a text; found {shown(name)}")
    return CategoryRecord(id_at(item, "id", where), text(name, f"{where} 'name'"))


def category_key(item: dict[str, Any]) -> str | None:
    found = whole(item.get("category_id"))
    return str(found) if isinstance(found, int | str) else None


def caption_of(value: Any, where: str) -> str | None:
    """What an input says of a region; what is no text says nothing."""
    return text(value, f"{where} 'caption'") if isinstance(value, str) else None


def list_items(items: Iterable[Item], expected: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a file that is one list, each with its place."""
    for key, index, value in items:
        if key is not None or (index is None and value != []):
            raise ValueError(f"the file is no list; expected {expected}")
        if index is not None:
            yield object_at(value, f"[{index}]"), f"[{index}]"


def pictured(record: dict[str, Any], fields: Sequence[str], where: str) -> ImageRecord:
    """The image of a record that names it under one of the fields, or holds it as a `data:` text.

    Without `image_id` or `id` an image goes by its file name, and one that has none by its content.
    """
    field = next((name for name in fields if record.get(name) is not None), fields[0])
    picture = name_at(record, field, where, "a file name or a picture as 'data:...;base64,...'")
    embedded = picture if picture.startswith("data:") else None
    name = picture if embedded is None else f"data:{hashlib.sha256(picture.encode()).hexdigest()[:16]}"
    id_field = next((key for key in ("image_id", "id") if record.get(key) is not None), None)
    image_id = name if id_field is None else id_at(record, id_field, where)
    return ImageRecord(image_id, name, *size_at(record, where), embedded)


def text(value: str, where: str) -> str:
    """JSON can spell half a character (a lone surrogate); no file name and no Parquet column can hold one."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} holds half a Unicode character: {value!r}") from None
    return value


def shown(value: Any) -> str:
    """A value in an error message, cut in length and depth."""
    return "nothing" if value is None else reprlib.repr(value)


def _pixels(item: dict[str, Any], key: str, where: str) -> int | None:
    found = whole(item.get(key))
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= MAX_PIXELS_A_SIDE:
        raise ValueError(f"{where} '{key}' must be a number of pixels, 1 or more; found {shown(found)}")
    return found
