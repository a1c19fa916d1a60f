"""What a run directory holds: facts, numbers of all rows, texts of some."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.run_paths import RECORDS, facts_path, is_run

NUMBERS = (
    "image_id",
    "source_index",
    "status",
    "error_code",
    "pass_id",
    "load_ms",
    "preprocess_ms",
    "encode_ms",
    "decode_ms",
    "pass_ms",
    "pass_share_ms",
    "mean_confidence",
    "tokens_generated",
    "finished_at",
)
EXAMPLES = 20


@dataclass(frozen=True)
class RunRecord:
    """A run of `pdlm caption`, finished or not.

    run: run.json. stats: stats.json, None while it does not exist. numbers: NUMBERS of all rows, in input order.
    """

    folder: Path
    parts: tuple[Path, ...]
    run: Mapping[str, Any]
    stats: Mapping[str, Any] | None
    numbers: pa.Table

    def image_ids(self) -> list[str]:
        """Of all images that have rows, in input order."""
        return list(dict.fromkeys(self.numbers["image_id"].to_pylist()))

    def count(self, status: str) -> int:
        return int(pc.sum(pc.equal(self.numbers["status"], status)).as_py() or 0)

    def rows_of(self, image_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """All columns of the rows of some images, by image, in input order."""
        rows: dict[str, list[dict[str, Any]]] = {image_id: [] for image_id in image_ids}
        wanted = pa.array(image_ids, pa.string())  # typed, as there may be none
        table = pq.read_table(list(self.parts), filters=pc.field("image_id").isin(wanted))
        for row in table.sort_by("source_index").to_pylist():
            rows[row["image_id"]].append(row)
        return rows

    def errors(self) -> dict[str, "Errors"]:
        """By code, the most frequent first."""
        columns = ["region_key", "error_code", "image_path", "region_id", "error_message", "source_index"]
        table = pq.read_table(list(self.parts), columns=columns, filters=[("status", "=", "error")])
        table = table.sort_by("source_index")
        found = {}
        for tally in pc.value_counts(table["error_code"]).to_pylist():
            own = table.filter(pc.equal(table["error_code"], tally["values"]))
            found[tally["values"]] = Errors(tally["counts"], own.slice(0, EXAMPLES).to_pylist())
        return dict(sorted(found.items(), key=lambda item: -item[1].count))


@dataclass(frozen=True)
class Errors:
    """Rows of one error code. examples: the first EXAMPLES of them."""

    count: int
    examples: list[dict[str, Any]]


def read_run(folder: Path) -> RunRecord:
    """Raises ConfigError if the folder holds no run, InputError if the run cannot be read or has no rows yet."""
    if not is_run(folder):
        raise ConfigError(f"{folder} holds no run of pdlm caption: there is no {facts_path(folder)}")
    parts = tuple(sorted((folder / "data").glob("part-*.parquet")))
    if not parts:
        raise InputError(f"{folder} holds no rows yet; try again once the run has finished its first part")
    try:
        run = json.loads(facts_path(folder).read_bytes())
        stats_file = folder / RECORDS / "stats.json"
        stats = json.loads(stats_file.read_bytes()) if stats_file.is_file() else None
        numbers = pq.read_table(list(parts), columns=list(NUMBERS))
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).rstrip(".")
        raise InputError(f"{folder} cannot be read: {reason}; was it written by pdlm caption, and wholly?") from error
    return RunRecord(folder, parts, run, stats, numbers.sort_by("source_index"))
