"""The training JSON as an input: its pictures and masks; its captions are for conversions."""

from collections.abc import Iterable
from typing import Any, Final

from pdlm_cli.json_stream import Item
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import (
    Records,
    RegionRecord,
    caption_of,
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
        for i, (mask, caption) in enumerate(_regions(record, where)):
            form = {"whole": True} if mask is None else mask
            yield RegionRecord(image.image_id, str(i), form, caption=caption_of(caption, where))


def _regions(record: dict[str, Any], where: str) -> list[tuple[Any, Any]]:
    """Masks and captions, which may be None."""
    if record.get("mask_rles") is not None:
        masks = list_at(record["mask_rles"], f"{where} 'mask_rles'")
        return pair_captions(masks, record.get("captions"))
    annotations = list_at(record.get("annotations"), f"{where} 'mask_rles' or 'annotations'")
    entries = [object_at(value, f"{where} annotations[{i}]") for i, value in enumerate(annotations)]
    return [(entry.get("segmentation"), entry.get("caption")) for entry in entries]


def pair_captions(masks: list[Any], captions: Any) -> list[tuple[Any, Any]]:
    """Each mask with its caption; with None where lists of two lengths do not say which is whose."""
    paired = isinstance(captions, list) and len(captions) == len(masks)
    return list(zip(masks, captions if paired else [None] * len(masks), strict=True))
