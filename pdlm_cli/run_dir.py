"""The directory of a run: who may write it, what is in it, and in which order things become true.

out/data/part-00000.parquet   the only Parquet files, each whole
out/_pdlm/run.json            what was run: settings, versions, hashes
out/_pdlm/done/00000.json     written after its part: rows, sizes, hash
out/_pdlm/stats.json, log.jsonl, lock
out/report.html               a page over all of it, if asked for (report_page)
out/_SUCCESS                  the run is complete and within its error rate
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pdlm_cli.atomic import write_atomic
from pdlm_cli.errors import ConfigError, OutputError
from pdlm_cli.lock import LockedFolder
from pdlm_cli.parquet import part_bytes
from pdlm_cli.rows import Row


class RunDir(LockedFolder):
    """The output directory of one run."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        """Take the directory. Raises LockedError, OutputError, or ConfigError if it holds something else.

        Nothing of an earlier run is removed before `start`.
        """
        super().__init__(path, "_pdlm", option="--output")
        self._data = path / "data"
        with self._unlocked_if_refused():
            self._refuse_existing(overwrite)

    @property
    def log_path(self) -> Path:
        return self._state / "log.jsonl"

    def _refuse_existing(self, overwrite: bool) -> None:
        if (self._state / "run.json").exists():
            if overwrite:
                return
            state = "finished" if (self.path / "_SUCCESS").exists() else "unfinished"
            raise ConfigError(
                f"{self.path} already holds a {state} run; pass --overwrite to replace it, or choose another "
                "--output (this version does not resume a run)"
            )
        if self._data.is_dir() and any(self._data.iterdir()):
            raise ConfigError(f"{self._data} holds files that no run wrote; choose another --output")

    def start(self, facts: Mapping[str, Any]) -> None:
        """Remove what an earlier run left and write run.json: from here on the directory is this run's."""
        try:
            # In this order, and run.json only replaced: half a removal neither looks like a complete run nor
            # like files that no run wrote.
            leftovers = ("_SUCCESS", "report.html", "_pdlm/done/*", "_pdlm/*.jsonl", "_pdlm/stats.json", "data/*part-*")
            for pattern in leftovers:
                for file in self.path.glob(pattern):
                    file.unlink()
            self._data.mkdir(exist_ok=True)
            (self._state / "done").mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror}") from error
        write_atomic(self._state / "run.json", _json(facts))

    def commit(self, index: int, rows: Sequence[Row], metadata: Mapping[str, str], *, complete: bool) -> Path:
        """Write part `index`, then its marker. complete: False if the run stopped before the part's end."""
        path = self._data / f"part-{index:05d}.parquet"
        data = part_bytes(rows, metadata)
        write_atomic(path, data)
        errors = sum(row.status == "error" for row in rows)
        marker = {
            "part": path.name,
            "complete": complete,
            "rows": len(rows),
            "ok": sum(row.status == "ok" for row in rows),
            "errors": errors,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        write_atomic(self._state / "done" / f"{index:05d}.json", _json(marker))
        return path

    def finish(self, stats: Mapping[str, Any], *, success: bool) -> None:
        """Write stats.json, and _SUCCESS when all that was asked for is there."""
        write_atomic(self._state / "stats.json", _json(stats))
        if success:
            write_atomic(self.path / "_SUCCESS", b"")


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
