"""The output table: its schema, and a part of it, or any other table, as bytes and back."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pdlm_cli.rows import Row

SCHEMA_VERSION = "3"


def _column(name: str, kind: Any, description: str, *, unit: str | None = None, nullable: bool = False) -> Any:
    metadata = {"description": description} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


SCHEMA = pa.schema(
    [
        _column("region_key", pa.string(), "unique; hash of image id, region id, mask and image reference"),
        _column("image_id", pa.string(), "as in the input"),
        _column("region_id", pa.string(), "as in the input"),
        _column("image_path", pa.string(), "as in the input, relative to the images folder of the run"),
        _column("category", pa.string(), "name of the category, if the input has one", nullable=True),
        _column("prompt", pa.string(), "what the input wants asked of the region; null: as the run", nullable=True),
        _column("source_index", pa.int64(), "place of the region in the input, from 0"),
        _column("image_sha256", pa.string(), "of the picture's file; null if it could not be decoded", nullable=True),
        _column("mask_sha256", pa.string(), "of the mask as the input has it; of a mask picture by its content"),
        _column("image_width", pa.int32(), "of the decoded picture", unit="pixels", nullable=True),
        _column("image_height", pa.int32(), "of the decoded picture", unit="pixels", nullable=True),
        _column("mask_area_px", pa.int32(), "pixels inside the mask", unit="pixels", nullable=True),
        _column(
            "bbox_xywh",
            pa.list_(pa.field("element", pa.float32()), 4),
            "smallest box around the mask: left, top, width, height",
            unit="pixels",
            nullable=True,
        ),
        _column("caption", pa.string(), "null unless status is ok", nullable=True),
        _column("status", pa.string(), "ok, error, or skipped as --min-area or --skip-crowd asked"),
        _column("error_code", pa.string(), "null unless status is error", nullable=True),
        _column(
            "error_message", pa.string(), "for people: what went wrong, or why the region was skipped", nullable=True
        ),
        _column("finish_reason", pa.string(), "eos: the caption ended; length: it was cut", nullable=True),
        _column("tokens_generated", pa.int32(), "without padding", unit="tokens", nullable=True),
        _column("denoise_steps", pa.int32(), "model steps the caption took", unit="steps", nullable=True),
        _column("pass_id", pa.string(), "regions of one pass share it; the same in every run", nullable=True),
        _column("pass_slot", pa.int16(), "slot of the region in its pass, from 0", nullable=True),
        _column("pass_size", pa.int16(), "regions in the pass", unit="regions", nullable=True),
        _column("load_ms", pa.float32(), "reading and decoding the picture, once an image", unit="ms", nullable=True),
        _column("preprocess_ms", pa.float32(), "tiles and region prompts of the pass", unit="ms", nullable=True),
        _column(
            "encode_ms",
            pa.float32(),
            "vision tower and RoI features, with the passes that came at once",
            unit="ms",
            nullable=True,
        ),
        _column(
            "decode_ms",
            pa.float32(),
            "prefill and denoising up to the last caption of the pass, beside other passes",
            unit="ms",
            nullable=True,
        ),
        _column("pass_ms", pa.float32(), "model call of the batch the pass ran in", unit="ms", nullable=True),
        _column("pass_share_ms", pa.float32(), "pass_ms over the regions of the batch", unit="ms", nullable=True),
        _column(
            "mean_confidence",
            pa.float32(),
            "mean probability of the tokens and of what ends them, 0 to 1",
            nullable=True,
        ),
        _column("attempt", pa.int16(), "1 unless the region was tried again"),
        _column("finished_at", pa.timestamp("us", tz="UTC"), "when the row was complete"),
    ]
)


def part_bytes(rows: Sequence[Row], metadata: Mapping[str, str]) -> bytes:
    """Rows as one zstd Parquet file. metadata: run id and hashes for the schema; the version is added."""
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    schema = SCHEMA.with_metadata({"pdlm.schema_version": SCHEMA_VERSION, **metadata})
    return table_bytes(pa.table(columns, schema=schema))


def table_bytes(table: pa.Table) -> bytes:
    """Any table as one zstd Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_image_ids(path: Path) -> Iterator[str]:
    """The image id of each row of a part, in its order."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["image_id"]):
            yield from batch["image_id"].to_pylist()


def read_rows(path: Path) -> list[Row]:
    """The rows of a part, in its order: written again, they are the same. Version 2 of the table has no prompts."""
    with pq.ParquetFile(path) as file:
        return [Row(**row) for row in file.read().to_pylist()]
