import io
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from pdlm_cli.parquet import SCHEMA, SCHEMA_VERSION, part_bytes
from pdlm_cli.rows import Row

GOLDEN = """
region_key: string not null
image_id: string not null
region_id: string not null
image_path: string not null
category: string
prompt: string
source_index: int64 not null
image_sha256: string
mask_sha256: string not null
image_width: int32 [pixels]
image_height: int32 [pixels]
mask_area_px: int32 [pixels]
bbox_xywh: fixed_size_list<element: float>[4] [pixels]
caption: string
status: string not null
error_code: string
error_message: string
finish_reason: string
tokens_generated: int32 [tokens]
denoise_steps: int32 [steps]
pass_id: string
pass_slot: int16
pass_size: int16 [regions]
load_ms: float [ms]
preprocess_ms: float [ms]
encode_ms: float [ms]
decode_ms: float [ms]
pass_ms: float [ms]
pass_share_ms: float [ms]
mean_confidence: float
attempt: int16 not null
finished_at: timestamp[us, tz=UTC] not null
"""

NOW = datetime(2025, 1, 2, 3, 4, 5, 678901, UTC)
OK = Row(
    region_key="k1",
    image_id="1",
    region_id="11",
    image_path="1.png",
    category="cat",
    source_index=0,
    image_sha256="f",
    mask_sha256="a",
    image_width=40,
    image_height=30,
    mask_area_px=12,
    bbox_xywh=(1, 2, 3, 4),
    caption="a [bold]cat[/bold]",
    status="ok",
    finish_reason="eos",
    tokens_generated=3,
    denoise_steps=4,
    pass_id="p",
    pass_slot=0,
    pass_size=1,
    load_ms=1.5,
    preprocess_ms=2.5,
    encode_ms=3.5,
    decode_ms=4.5,
    pass_ms=8.0,
    pass_share_ms=8.0,
    mean_confidence=0.5,
    finished_at=NOW,
)
ERROR = Row(
    region_key="k2",
    image_id="1",
    region_id="12",
    image_path="1.png",
    category=None,
    source_index=1,
    mask_sha256="b",
    status="error",
    error_code="bad_mask",
    error_message="no",
    finished_at=NOW,
)


def described(field: pa.Field) -> str:
    unit = field.metadata.get(b"unit", b"").decode()
    return f"{field.name}: {field.type}{'' if field.nullable else ' not null'}{f' [{unit}]' if unit else ''}"


def written(rows: list[Row]) -> pa.Table:
    return pq.read_table(io.BytesIO(part_bytes(rows, {"pdlm.run_id": "r"})))


def test_the_schema_is_the_documented_one() -> None:
    table = written([OK, ERROR])
    assert "\n".join(described(field) for field in table.schema) == GOLDEN.strip()
    assert all(field.metadata[b"description"] for field in table.schema)
    assert table.schema.metadata == {b"pdlm.schema_version": SCHEMA_VERSION.encode(), b"pdlm.run_id": b"r"}


def test_rows_and_columns_have_the_same_names_in_the_same_order() -> None:
    assert list(Row.__dataclass_fields__) == SCHEMA.names


def test_rows_come_back_as_they_went_in() -> None:
    rows = written([OK, ERROR]).to_pylist()
    assert rows[0] == {name: getattr(OK, name) for name in SCHEMA.names} | {"bbox_xywh": [1, 2, 3, 4]}
    assert rows[1] == {name: getattr(ERROR, name) for name in SCHEMA.names}


def test_no_rows_keep_the_columns() -> None:
    table = written([])
    assert table.num_rows == 0
    assert table.schema.names == SCHEMA.names


def test_parts_are_compressed_with_zstd() -> None:
    metadata = pq.read_metadata(io.BytesIO(part_bytes([OK], {})))
    assert {metadata.row_group(0).column(i).compression for i in range(metadata.num_columns)} == {"ZSTD"}
