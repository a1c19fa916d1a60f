"""ParaDLC-Bench: a list of images, each with annotations that hold a `mask_rle` and an `index` with gaps.

Their boxes are not read: they are unreliable.
"""

from collections.abc import Iterable
from typing import Any, Final

from pdlm_cli.json_stream import Item
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import (
    ImageRecord,
    Records,
    RegionRecord,
    id_at,
    list_at,
    list_items,
    name_at,
    object_at,
    size_at,
    text,
)

NAME = "paradlc-bench"
EXPECTED = "ParaDLC-Bench: a list of images with 'annotations' that hold 'mask_rle' and 'index'"
REGION_IDS: Final = "file"


def recognises(shape: Shape) -> bool:
    annotations: Any = shape.first(None).get("annotations")
    return bool(isinstance(annotations, list) and annotations and isinstance(annotations[0], dict)) and (
        "mask_rle" in annotations[0]
    )


def read(items: Iterable[Item]) -> Records:
    """Region ids are the benchmark's own keys, `<image_id>_<index>`."""
    for record, where in list_items(items, EXPECTED):
        image_id = id_at(record, "image_id", where)
        file_name = name_at(record, "file_name", where, "below the images folder")
        yield ImageRecord(image_id, file_name, *size_at(record, where))
        for i, value in enumerate(list_at(record.get("annotations"), f"{where} 'annotations'")):
            place = f"{where} annotations[{i}]"
            annotation = object_at(value, place)
            category = annotation.get("category_name")
            yield RegionRecord(
                image_id=image_id,
                region_id=f"{image_id}_{id_at(annotation, 'index', place)}",
                mask=annotation.get("mask_rle"),
                category=text(category, place) if isinstance(category, str) else None,
            )
