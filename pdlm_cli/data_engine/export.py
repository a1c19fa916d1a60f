"""The files of a set of scenes, from their records."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pdlm_cli.data_engine.kinds import KINDS
from pdlm_cli.data_engine.records import SceneRecord
from pdlm_cli.parquet import table_bytes

CATEGORIES: Mapping[str, int] = {name: number for number, name in enumerate(KINDS, 1)}

_TEXTS = pa.list_(pa.string())
_PART = pa.struct(
    [
        ("name", pa.string()),
        ("colors", _TEXTS),
        ("pattern", pa.string()),
        ("material", pa.string()),
        ("shape", pa.string()),
    ]
)
PARQUET_SCHEMA = pa.schema(
    [
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False, metadata={"unit": "pixels"}),
        pa.field("height", pa.int32(), nullable=False, metadata={"unit": "pixels"}),
        pa.field("mask_rles", pa.list_(pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.string())]))),
        pa.field("captions", _TEXTS),
        pa.field(
            "objects", pa.list_(pa.struct([("kind", pa.string()), ("parts", pa.list_(_PART)), ("hidden", _TEXTS)]))
        ),
        pa.field("conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))),
    ]
)


def parquet_part(records: Sequence[SceneRecord], pictures: Sequence[bytes]) -> bytes:
    """One Parquet file: the entries of the training JSON, with the pictures inside."""
    rows = [
        record.training | {"image": {"bytes": picture, "path": record.training["image"]}}
        for record, picture in zip(records, pictures, strict=True)
    ]
    return table_bytes(pa.Table.from_pylist(rows, schema=PARQUET_SCHEMA))


def json_files(records: Sequence[SceneRecord], formats: Sequence[str]) -> dict[str, bytes]:
    """File name -> content, of every format but Parquet."""
    files: dict[str, Any] = {}
    if "json" in formats:
        files["scenes.json"] = [record.training for record in records]
    if "coco" in formats:
        files["coco.json"] = coco(records)
    if "paradlc" in formats:
        files |= paradlc(records)
    # The benchmark's own files are indented by four; the others are for programs.
    indents = dict.fromkeys(("annotations.json", "qa.json", "class_names.json"), 4)
    return {name: json.dumps(value, indent=indents.get(name)).encode() for name, value in files.items()}


def coco(records: Sequence[SceneRecord]) -> dict[str, Any]:
    """COCO instances, with a `caption` an annotation. Boxes are left, top, width, height; ids count from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records, 1):
        scene = record.training
        size = {key: scene[key] for key in ("width", "height")}
        images.append({"id": image_id, "file_name": scene["image"]} | size)
        for i, (left, top, right, bottom) in enumerate(record.boxes):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORIES[scene["objects"][i]["kind"]],
                    "segmentation": scene["mask_rles"][i],
                    "area": record.areas[i],
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": 0,
                    "caption": scene["captions"][i],
                }
            )
    categories = [{"id": number, "name": name} for name, number in CATEGORIES.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def paradlc(records: Sequence[SceneRecord]) -> dict[str, Any]:
    """The three files of ParaDLC-Bench. Keys are `<image_id>_<index>`; boxes are left, top, right, bottom."""
    annotations, questions, names = [], {}, {}
    for record in records:
        scene = record.training
        regions = []
        for i, (box, item) in enumerate(zip(record.boxes, scene["objects"], strict=True)):
            key = f"{scene['image_id']}_{i}"
            questions[key], names[key] = record.benchmark[i], item["kind"]
            regions.append(
                {"index": i, "category_name": item["kind"], "bbox": list(box), "mask_rle": scene["mask_rles"][i]}
            )
        size = {"height": scene["height"], "width": scene["width"]}
        head = {"file_name": scene["image"]} | size | {"image_id": scene["image_id"]}
        annotations.append(head | {"annotations": regions})
    return {"annotations.json": annotations, "qa.json": questions, "class_names.json": names}
