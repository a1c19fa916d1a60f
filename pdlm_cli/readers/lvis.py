"""LVIS: COCO instances whose images have an address instead of a file name. Nothing is ever fetched from it."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

from pdlm_cli.json_stream import Item
from pdlm_cli.readers import coco
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import Records, name_at

NAME = "lvis"
REGION_IDS = coco.REGION_IDS


def recognises(shape: Shape) -> bool:
    image = shape.first("images")
    return coco.recognises(shape) and "coco_url" in image and "file_name" not in image


def read(items: Iterable[Item]) -> Records:
    """As COCO. An image's file name is the end of its address, a folder of COCO's and the file in it, as
    in train2017/000000391895.jpg; %20 and the like are characters."""
    return coco.read_instances(items, _end_of_address)


def _end_of_address(image: dict[str, Any], where: str) -> str:
    address = name_at(image, "coco_url", where, "an address that ends in the file name")
    *folders, name = urlsplit(address).path.split("/")
    if not name:
        raise ValueError(f"{where} 'coco_url' must end in a file name, found {address!r}")
    folder = [part for part in folders[-1:] if part not in ("", ".")]
    return "/".join(unquote(part) for part in (*folder, name))
