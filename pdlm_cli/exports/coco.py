"""COCO instances with a caption an annotation: the input with what was said of its regions."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from pdlm_cli.conversions.coco import Categories
from pdlm_cli.conversions.numbers import id_number
from pdlm_cli.exports.source import ExportSource
from pdlm_cli.masks import enclosing, encode
from pdlm_cli.regions import ImageEntry, Region
from pdlm_cli.rows import Row
from pdlm_cli.sources import MaskReader, Sources

NO_CATEGORY = "region"


def write(source: ExportSource, file: BinaryIO) -> None:
    """Error rows become annotations without a caption, with their error code, and skipped rows with the reason; masks
    that do not decode are left out.

    Region ids that several images share are replaced by the numbers of the annotations, and kept as `region_id`.
    """
    manifest, sources = source.open_input()
    categories = Categories(manifest.categories)
    file.write(b'{"info": ' + _json({"description": "captions by pdlm", "run_id": source.run.facts["run_id"]}))
    unique = manifest.region_ids_are_unique
    with source.images(manifest) as images:
        _write_list(file, "images", (_image(entry, rows, categories) for entry, rows in images))
    _write_list(file, "categories", categories.listed())
    with source.images(manifest) as images:
        _write_list(file, "annotations", _annotations(images, sources, categories, unique))
    file.write(b"}\n")


def _image(entry: ImageEntry, rows: list[Row], categories: Categories) -> dict[str, Any]:
    """The image; those of its categories that the input does not list get their numbers on the way."""
    for row in rows:
        categories.of(row.category or NO_CATEGORY)
    size = {"width": rows[0].image_width or entry.width, "height": rows[0].image_height or entry.height}
    return {"id": id_number(entry.image_id), "file_name": entry.file_name, **size}


def _annotations(
    images: Iterable[tuple[ImageEntry, list[Row]]], sources: Sources, categories: Categories, unique: bool
) -> Iterator[dict[str, Any]]:
    number = 0
    for entry, rows in images:
        masks = MaskReader(sources, entry)
        for region, row in zip(entry.regions, rows, strict=True):
            number += 1
            own_id = {"id": id_number(row.region_id)} if unique else {"id": number, "region_id": row.region_id}
            yield own_id | _annotation(region, row, masks) | categories.of(row.category or NO_CATEGORY)


def _annotation(region: Region, row: Row, masks: MaskReader) -> dict[str, Any]:
    said: dict[str, dict[str, Any]] = {
        "ok": {"caption": row.caption},
        "error": {"error_code": row.error_code},
        "skipped": {"skipped": row.error_message},
    }
    return {
        "image_id": id_number(row.image_id),
        "segmentation": _segmentation(region, row, masks),
        "area": row.mask_area_px or 0,
        "bbox": list(row.bbox_xywh or (0, 0, 0, 0)),
        "iscrowd": int(region.crowd),
        "region_key": row.region_key,
        **said[row.status],
    }


def _segmentation(region: Region, row: Row, masks: MaskReader) -> Any:
    """As the input has it, where that is a form of COCO; else run lengths. Empty if the mask is not usable."""
    if row.mask_area_px is None:
        return []
    if isinstance(region.segmentation, list):
        return enclosing(region.segmentation)
    if "counts" in region.segmentation:
        return region.segmentation
    assert row.image_width is not None and row.image_height is not None
    return encode(masks.pixels(region, (row.image_width, row.image_height)))


def _write_list(file: BinaryIO, name: str, items: Iterable[dict[str, Any]]) -> None:
    file.write(f',\n"{name}": ['.encode())
    before = b"\n"
    for item in items:
        file.write(before + _json(item))
        before = b",\n"
    file.write(b"]")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
