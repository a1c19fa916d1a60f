"""CSV for spreadsheets, which take a cell that starts like a formula for one: such text gets a quote in front."""

import csv
import io
from dataclasses import asdict
from typing import Any, BinaryIO

from pdlm_cli.exports.source import ExportSource
from pdlm_cli.parquet import SCHEMA

BOX = ("bbox_x", "bbox_y", "bbox_width", "bbox_height")
STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write(source: ExportSource, file: BinaryIO) -> None:
    names = [name for column in SCHEMA.names for name in (BOX if column == "bbox_xywh" else (column,))]
    file.write(_line(names))
    with source.rows() as rows:
        for row in rows:
            values = asdict(row)
            values |= zip(BOX, values.pop("bbox_xywh") or (None,) * 4, strict=True)
            values["finished_at"] = row.finished_at.isoformat()
            file.write(_line([safe(values[name]) for name in names]))


def safe(value: Any) -> Any:
    """Text that no spreadsheet calculates. Whatever stands before it is looked through, as some do."""
    if isinstance(value, str) and (value.startswith(STARTS_A_FORMULA) or value.lstrip().startswith(STARTS_A_FORMULA)):
        return "'" + value
    return value


def _line(cells: list[Any]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
