"""COCO instances: `images`, and `annotations` with a `segmentation` each; `categories` give the names."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from pdlm_cli.json_stream import Item
from pdlm_cli.logs import log
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import (
    ImageRecord,
    Record,
    Records,
    RegionRecord,
    caption_of,
    category_at,
    category_key,
    id_at,
    name_at,
    object_at,
    shown,
    size_at,
)

NAME = "coco-instances"
EXPECTED = "COCO instances: an object with 'images', 'annotations' (with 'segmentation') and 'categories'"
REGION_IDS: Final = "file"

FileName = Callable[[dict[str, Any], str], str]  # of an entry of `images`, and its place in the file for errors
Regions = Callable[[dict[str, Any], str], Iterable[Record]]  # the same of an entry of `annotations`


def recognises(shape: Shape) -> bool:
    """True for an object that has both lists of COCO. What is wrong inside them is for `read` to say."""
    return shape.has("images", "annotations")


def read(items: Iterable[Item]) -> Records:
    """All images and annotations of the file.

    Raises ValueError for whatever makes the file ambiguous: wrong types, missing ids. A segmentation that does not
    decode is no reason: that becomes an error row.
    """
    return read_instances(items, named_file)


def read_instances(items: Iterable[Item], file_name: FileName) -> Records:
    annotations = segmentations = boxes_alone = 0

    def region(entry: dict[str, Any], where: str) -> Iterable[Record]:
        nonlocal annotations, segmentations, boxes_alone
        annotations += 1
        segmentations += "segmentation" in entry
        boxes_alone += has_box_alone(entry)
        yield region_of(entry, where, entry.get("segmentation"))

    yield from read_lists(items, file_name, region)
    if annotations and not segmentations:
        hint = "; --format coco-boxes takes boxes for masks" if boxes_alone else ""
        raise ValueError(f"no annotation has a 'segmentation'; expected {EXPECTED}{hint}")
    if boxes_alone:
        log.warning("%d annotations have a box and no mask; --format coco-boxes takes the box for it", boxes_alone)


def has_box_alone(annotation: dict[str, Any]) -> bool:
    """Tools that draw boxes leave `segmentation` out, or write an empty list."""
    return annotation.get("segmentation") in (None, []) and annotation.get("bbox") is not None


def region_of(annotation: dict[str, Any], where: str, mask: Any) -> RegionRecord:
    return RegionRecord(
        image_id=id_at(annotation, "image_id", where),
        region_id=id_at(annotation, "id", where),
        mask=mask,
        category_key=category_key(annotation),
        crowd=annotation.get("iscrowd") == 1,
        caption=caption_of(annotation.get("caption"), where),
    )


def read_lists(items: Iterable[Item], file_name: FileName, regions: Regions) -> Records:
    """The three lists that all files of the family have, in any order."""
    for key, index, value in items:
        if key not in ("images", "annotations", "categories"):
            continue
        if index is None:
            if value != []:
                raise ValueError(f"'{key}' must be a list, found {shown(value)}")
            continue
        where = f"{key}[{index}]"
        entry = object_at(value, where)
        if key == "categories":
            yield category_at(entry, where)
        elif key == "images":
            yield ImageRecord(id_at(entry, "id", where), file_name(entry, where), *size_at(entry, where))
        else:
            yield from regions(entry, where)


def named_file(image: dict[str, Any], where: str) -> str:
    return name_at(image, "file_name", where, "below the images folder")
