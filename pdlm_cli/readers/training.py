"""The training JSON as an input: its pictures and masks, without its captions."""

from collections.abc import Iterable
from typing import Any, Final

from pdlm_cli.json_stream import Item
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import (
    Records,
    RegionRecord,
    list_at,
    list_items,
    object_at,
    pictured,
)

NAME = "training"
EXPECTED = "training JSON: a list of pictures with 'mask_rles', or 'annotations' of 'caption' and 'segmentation'"
REGION_IDS: Final = "image"
IMAGE_FIELDS = ("image", "image_file", "image_path")


def recognises(shape: Shape) -> bool:
    record = shape.first(None)
    return any(name in record for name in IMAGE_FIELDS) and ("mask_rles" in record or "annotations" in record)


def read(items: Iterable[Item]) -> Records:
    """Regions count from 0 in each record; images without an id go by their file name."""
    for record, where in list_items(items, EXPECTED):
        image = pictured(record, IMAGE_FIELDS, where)
        yield image
        for i, mask in enumerate(_masks(record, where)):
            yield RegionRecord(image.image_id, str(i), {"whole": True} if mask is None else mask)


def _masks(record: dict[str, Any], where: str) -> list[Any]:
    if record.get("mask_rles") is not None:
        return list_at(record["mask_rles"], f"{where} 'mask_rles'")
    annotations = list_at(record.get("annotations"), f"{where} 'mask_rles' or 'annotations'")
    return [object_at(value, f"{where} annotations[{i}]").get("segmentation") for i, value in enumerate(annotations)]
