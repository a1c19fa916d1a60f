"""The folder of an evaluation: whose it is, and in which order its files become true.

out/regions.parquet, judged.json, qa.json, report.md, worst.png
out/_eval/run.json    what was run, and how long it took
out/_eval/lock
out/scores.json       written last: the others are whole
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pdlm_cli.atomic import write_atomic
from pdlm_cli.errors import ConfigError, OutputError
from pdlm_cli.lock import lock_folder

LAST = "scores.json"


class EvaluationDir:
    """An output folder that this process alone writes to. A context manager: the lock ends with it."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        """Take the folder. Nothing in it is changed before `write`.

        Raises LockedError, OutputError, or ConfigError if it holds something else.
        """
        self.path = path
        state = path / "_eval"
        try:
            if path.is_dir() and any(path.iterdir()) and not state.is_dir():
                raise ConfigError(f"{path} holds files that `pdlm eval` did not write; choose another --output")
            state.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(path, state / "lock")
        except OSError as error:
            raise OutputError(f"cannot write to {path}: {error.strerror}; --output names the folder") from error
        if (path / LAST).exists() and not overwrite:
            self._lock.close()
            raise ConfigError(
                f"{path} already holds an evaluation; pass --overwrite to replace it, or choose another --output"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def write(self, files: Mapping[str, bytes]) -> None:
        """Replace what an earlier evaluation left. files: content by name, LAST among them. Raises OutputError."""
        try:
            (self.path / LAST).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror}") from error
        for name in sorted(files, key=lambda name: name == LAST):
            write_atomic(self.path / name, files[name])
