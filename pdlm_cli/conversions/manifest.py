"""A Parquet manifest, a piece at a time."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pdlm_cli.atomic import open_atomic
from pdlm_cli.conversions.source import ConversionSource, ReadRegion

HOLDS = ("category", "prompt", "picture")

GROUP_ROWS = 10_000  # of a row group, and
GROUP_BYTES = 64 << 20  # of the pictures in one

REGION_FIELDS = [
    pa.field("region_id", pa.string()),
    pa.field("rle_counts", pa.string()),
    pa.field("rle_size", pa.list_(pa.field("element", pa.int32()), 2)),
    pa.field("bbox_xywh", pa.list_(pa.field("element", pa.float32()), 4)),
    pa.field("category", pa.string()),
    pa.field("prompt", pa.string()),
]
IMAGE_ID = pa.field("image_id", pa.string())
ROW_A_REGION = pa.schema([pa.field("image_path", pa.string()), IMAGE_ID, *REGION_FIELDS])
ROW_AN_IMAGE = pa.schema(
    [
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        IMAGE_ID,
        pa.field("regions", pa.list_(pa.struct(REGION_FIELDS))),
    ]
)


def write(source: ConversionSource, out: Path, *, embed: bool | None = None) -> None:
    """A row a region; or with embed a row an image, with its picture's file in it. embed: None for as the input has it.

    A region whose mask cannot be used keeps its row, without a mask or with the broken one. Raises OutputError.
    """
    held = source.manifest.holds_pictures
    embed = held if embed is None else embed
    schema = ROW_AN_IMAGE if embed else ROW_A_REGION
    # Readers hold a page whole, and pages are only ended between write batches.
    options = {"write_batch_size": 1} if embed else {}
    with (
        open_atomic(out) as file,
        pq.ParquetWriter(file, schema, compression="zstd", **options) as writer,
        source.images() as entries,
    ):
        rows: list[dict[str, Any]] = []
        weight = 0
        for entry in entries:
            regions = [_region(found) for found in source.regions(entry)]
            if embed:
                picture = source.picture(entry)
                weight += len(picture or b"")
                image = {"bytes": picture, "path": entry.file_name}
                rows.append({"image": image, "image_id": entry.image_id, "regions": regions})
            else:
                if entry.embedded is not None:
                    source.converted.not_held["pictures in the input itself"] += 1
                rows += [{"image_path": entry.file_name, "image_id": entry.image_id} | region for region in regions]
            if len(rows) >= GROUP_ROWS or weight >= GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows, weight = [], 0
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _region(found: ReadRegion) -> dict[str, Any]:
    rle = found.rle or {}
    return {
        "region_id": found.region.region_id,
        "rle_counts": rle.get("counts"),
        "rle_size": rle.get("size"),
        "bbox_xywh": found.mask.bbox_xywh if found.mask else None,
        "category": found.region.category,
        "prompt": found.region.prompt,
    }
