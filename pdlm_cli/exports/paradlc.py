"""Predictions as DLC-Bench and ParaDLC-Bench have them: {mask: {"caption": text}}.

A mask is named by its annotation id where the input is COCO instances, as in DLC-Bench, and <image id>_<region id>
otherwise, as in ParaDLC-Bench. A judge adds "responses" to each; `pdlm eval score` reads the file then. Error rows
and skipped ones have caption null.
"""

import json
from typing import BinaryIO

from pdlm_cli.exports.source import ExportSource
from pdlm_cli.rows import Row


def write(source: ExportSource, file: BinaryIO) -> None:
    coco = source.run.facts["input"]["format"] == "coco-instances"
    before = b"{\n"
    with source.rows() as rows:
        for row in rows:
            said = json.dumps({"caption": row.caption}, ensure_ascii=False)
            file.write(before + f"{json.dumps(mask_name(row, coco=coco))}: {said}".encode())
            before = b",\n"
    file.write((before if before == b"{\n" else b"\n") + b"}\n")


def mask_name(row: Row, *, coco: bool) -> str:
    return row.region_id if coco or row.region_id.startswith(f"{row.image_id}_") else f"{row.image_id}_{row.region_id}"
