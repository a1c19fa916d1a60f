"""Done-markers: what a part holds, and whether its file still is what was written.

out/data/part-00000.parquet is described by out/_pdlm/done/00000.json.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pdlm_cli.atomic import temporary
from pdlm_cli.rows import Row
from pdlm_cli.run_paths import RECORDS


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What a part holds.

    complete: False if the run stopped before the part's end. errors: rows by error code. size: of the file, in bytes.
    """

    part: str
    complete: bool
    images: int
    rows: int
    ok: int
    errors: Mapping[str, int]
    skipped: int
    size: int
    sha256: str

    @classmethod
    def of(cls, part: str, rows: Sequence[Row], data: bytes, *, complete: bool) -> Self:
        """data: the file of the part, which holds these rows."""
        return cls(
            part=part,
            complete=complete,
            images=len({row.image_id for row in rows}),
            rows=len(rows),
            ok=sum(row.status == "ok" for row in rows),
            errors=dict(sorted(Counter(row.error_code for row in rows if row.error_code is not None).items())),
            skipped=sum(row.status == "skipped" for row in rows),
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "complete": self.complete,
            "images": self.images,
            "rows": self.rows,
            "ok": self.ok,
            "errors": sum(self.errors.values()),
            "error_codes": dict(self.errors),
            "skipped": self.skipped,
            "bytes": self.size,
            "sha256": self.sha256,
        }

    def describes(self, file: Path) -> bool:
        """Whether the file is there, and byte for byte the one that was written."""
        if not file.is_file() or file.stat().st_size != self.size:
            return False
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == self.sha256


def read_marker(path: Path) -> Marker | None:
    """None if there is no such file, or none that can be understood."""
    try:
        found = json.loads(path.read_bytes())
        values = {name: found[name] for name in ("part", "complete", "images", "rows", "ok", "sha256")}
        # Markers of version 2 of the table know no skipped rows.
        return Marker(**values, errors=found["error_codes"], skipped=found.get("skipped", 0), size=found["bytes"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def part_path(out: Path, index: int) -> Path:
    return out / "data" / f"part-{index:05d}.parquet"


def marker_path(out: Path, index: int) -> Path:
    return out / RECORDS / "done" / f"{index:05d}.json"


def part_index(file: Path) -> int | None:
    """The part that a part, a marker, or a marker under its temporary name is of; None for other files."""
    digits = file.name.removeprefix(".").removeprefix("part-").split(".")[0]
    return int(digits) if digits.isascii() and digits.isdigit() else None


def verified_markers(out: Path) -> tuple[dict[int, Marker], list[str]]:
    """The markers of a run directory whose parts are whole, by part, and what is wrong with the others.

    A marker under its temporary name counts too if its part is there: the process was killed between the two renames.
    """
    found, wrong = {}, []
    files = [*out.glob("data/part-*.parquet"), *(out / RECORDS / "done").glob("*.json*")]
    for index in sorted({index for file in files if (index := part_index(file)) is not None}):
        part, marker = part_path(out, index), marker_path(out, index)
        candidates = [candidate for file in (marker, temporary(marker)) if (candidate := read_marker(file)) is not None]
        good = [candidate for candidate in candidates if candidate.describes(part)]
        if good:
            found[index] = good[0]
        elif part.exists():
            wrong.append(f"{part} is not the file that its done-marker describes")
        elif marker.exists():
            wrong.append(f"{part} is missing")
    return found, wrong
