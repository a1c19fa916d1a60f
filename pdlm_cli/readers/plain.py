"""The plain list: pictures, each with its masks in whatever form they are."""

from collections.abc import Iterable
from typing import Any, Final

from pdlm_cli.json_stream import Item
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import Records, RegionRecord, list_at, list_items, pictured

NAME = "plain"
EXPECTED = "plain list: [{'image': name, 'masks': [run lengths, polygon, PNG name or box, ...]}, ...]"
REGION_IDS: Final = "image"


def recognises(shape: Shape) -> bool:
    return {"image", "masks"} <= shape.first(None).keys()


def read(items: Iterable[Item]) -> Records:
    """Regions count from 0 in each record; images without an id go by their file name."""
    for record, where in list_items(items, EXPECTED):
        image = pictured(record, ("image",), where)
        yield image
        yield from masks_of(record.get("masks"), image.image_id, f"{where} 'masks'")


def masks_of(masks: Any, image_id: str, where: str) -> Records:
    for i, mask in enumerate(list_at(masks, where)):
        yield RegionRecord(image_id, str(i), mask_form(mask))


def mask_form(value: Any) -> Any:
    """A mask of a plain list as masks.py has it. What is none of the forms stays, and is refused there."""
    if isinstance(value, str):
        return {"file": value}
    if isinstance(value, list) and value and not any(isinstance(part, list) for part in value):
        return {"box": value} if len(value) == 4 else [value]  # left, top, width, height; or the points of one polygon
    return value
