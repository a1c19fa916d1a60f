"""COCO of tools that draw boxes: as COCO instances, but where an annotation has no mask its box is taken for one.

Never recognised: a box is not the outline of what it holds, so it is taken for a mask only where that is asked for.
"""

from collections.abc import Iterable
from typing import Any

from pdlm_cli.json_stream import Item
from pdlm_cli.readers import coco
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import Records, RegionRecord

NAME = "coco-boxes"
REGION_IDS = coco.REGION_IDS


def recognises(shape: Shape) -> bool:
    return False


def read(items: Iterable[Item]) -> Records:
    """As COCO."""
    return coco.read_lists(items, coco.named_file, _regions)


def _regions(annotation: dict[str, Any], where: str) -> Iterable[RegionRecord]:
    mask = {"box": annotation["bbox"]} if coco.has_box_alone(annotation) else annotation.get("segmentation")
    yield coco.region_of(annotation, where, mask)
