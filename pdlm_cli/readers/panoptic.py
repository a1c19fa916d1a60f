"""COCO panoptic and COCONut: an annotation an image, whose segments are the colors of one PNG."""

from collections.abc import Iterable
from typing import Any, Final

from pdlm_cli.json_stream import Item
from pdlm_cli.readers import coco
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import (
    Record,
    Records,
    RegionRecord,
    category_key,
    id_at,
    list_at,
    name_at,
    object_at,
    whole,
)

NAME = "coco-panoptic"
REGION_IDS: Final = "image"


def recognises(shape: Shape) -> bool:
    return coco.recognises(shape) and "segments_info" in shape.first("annotations")


def read(items: Iterable[Item]) -> Records:
    """A region a segment, its id the segment's; the PNGs are opened when their masks are needed."""
    return coco.read_lists(items, coco.named_file, _segments)


def _segments(annotation: dict[str, Any], where: str) -> Iterable[Record]:
    image_id = id_at(annotation, "image_id", where)
    file = name_at(annotation, "file_name", where, "a PNG below the folder of --masks")
    for i, value in enumerate(list_at(annotation.get("segments_info"), f"{where} 'segments_info'")):
        place = f"{where} segments_info[{i}]"
        segment = object_at(value, place)
        region_id = id_at(segment, "id", place)
        yield RegionRecord(
            image_id=image_id,
            region_id=region_id,
            mask={"file": file, "id": whole(segment["id"])},
            category_key=category_key(segment),
            crowd=segment.get("iscrowd") == 1,
        )
