"""One row of the output table: what is known of a region after its pass, or after it failed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pdlm_cli.errors import ErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Columns in the order of the Parquet schema, which states units and meaning (see parquet.py).

    A row is "ok" with a caption, "error" with a code and a message, or "skipped" with the reason as its message; what
    was not reached stays None.
    """

    region_key: str
    image_id: str
    region_id: str
    image_path: str
    category: str | None
    prompt: str | None = None
    source_index: int
    image_sha256: str | None = None
    mask_sha256: str
    image_width: int | None = None
    image_height: int | None = None
    mask_area_px: int | None = None
    bbox_xywh: tuple[int, int, int, int] | None = None
    caption: str | None = None
    status: Literal["ok", "error", "skipped"]
    error_code: ErrorCode | None = None
    error_message: str | None = None
    finish_reason: Literal["eos", "length"] | None = None
    tokens_generated: int | None = None
    denoise_steps: int | None = None
    pass_id: str | None = None
    pass_slot: int | None = None
    pass_size: int | None = None
    load_ms: float | None = None
    preprocess_ms: float | None = None
    encode_ms: float | None = None
    decode_ms: float | None = None
    pass_ms: float | None = None
    pass_share_ms: float | None = None
    mean_confidence: float | None = None
    attempt: int = 1
    finished_at: datetime
