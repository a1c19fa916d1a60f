"""JSON Lines: a row a line, columns by name."""

import json
from dataclasses import asdict
from typing import BinaryIO

from pdlm_cli.exports.source import ExportSource


def write(source: ExportSource, file: BinaryIO) -> None:
    with source.rows() as rows:
        for row in rows:
            values = asdict(row) | {"finished_at": row.finished_at.isoformat()}
            file.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")
