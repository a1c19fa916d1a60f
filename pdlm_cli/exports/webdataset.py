"""WebDataset: a tar with a sample an image, for training on the captions.

000000000.jpg         the picture as it is
000000000.mask.0.png  the mask of its first region with a caption, white inside
000000000.json        image id, and of each such region its caption, mask, box and category
"""

import io
import json
import tarfile
from typing import Any, BinaryIO

from PIL import Image

from pdlm_cli.errors import RegionError
from pdlm_cli.exports.source import ExportSource
from pdlm_cli.images import picture_ending
from pdlm_cli.logs import log
from pdlm_cli.regions import ImageEntry, Region
from pdlm_cli.rows import Row
from pdlm_cli.sources import MaskReader


def write(source: ExportSource, file: BinaryIO) -> None:
    """Images without a caption, or whose picture is not there any more, are left out, and told of."""
    left_out, first = 0, ""
    manifest, sources = source.open_input()
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar, source.images(manifest) as images:
        for number, (entry, rows) in enumerate(images):
            said = [(region, row) for region, row in zip(entry.regions, rows, strict=True) if row.caption is not None]
            try:
                if not said:
                    raise RegionError("missing_image", f"image {entry.image_id} has no caption")
                with sources.open(entry) as opened:
                    picture = opened.read()
            except RegionError as error:
                left_out, first = left_out + 1, first or str(error)
                continue
            _write_sample(tar, f"{number:09d}", entry, said, picture, MaskReader(sources, entry))
    if left_out:
        log.warning("%d images are left out, as they have no caption or no picture; the first: %s", left_out, first)


def _write_sample(
    tar: tarfile.TarFile,
    key: str,
    entry: ImageEntry,
    said: list[tuple[Region, Row]],
    picture: bytes,
    masks: MaskReader,
) -> None:
    regions = []
    _add(tar, key + picture_ending(entry.file_name, picture), picture)
    for i, (region, row) in enumerate(said):
        _add(tar, f"{key}.mask.{i}.png", _mask_png(masks, region, row))
        regions.append(
            {
                "region_id": row.region_id,
                "region_key": row.region_key,
                "caption": row.caption,
                "category": row.category,
                "mask": f"mask.{i}.png",
                "bbox_xywh": row.bbox_xywh,
                "mask_area_px": row.mask_area_px,
                "mean_confidence": row.mean_confidence,
            }
        )
    about: dict[str, Any] = {"image_id": entry.image_id, "file_name": entry.file_name, "regions": regions}
    _add(tar, f"{key}.json", json.dumps(about, ensure_ascii=False).encode())


def _mask_png(masks: MaskReader, region: Region, row: Row) -> bytes:
    assert row.image_width is not None and row.image_height is not None
    pixels = masks.pixels(region, (row.image_width, row.image_height))
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return png.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Members carry no time and no owner, so that the same run gives the same file."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
