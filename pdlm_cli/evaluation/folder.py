"""The folder of an evaluation: whose it is, and in which order its files become true.

out/regions.parquet, judged.json, qa.json, report.md, worst.png
out/_eval/run.json    what was run, and how long it took
out/_eval/lock
out/scores.json       written last: the others are whole
"""

from collections.abc import Mapping
from pathlib import Path

from pdlm_cli.atomic import write_atomic
from pdlm_cli.errors import ConfigError, OutputError
from pdlm_cli.lock import LockedFolder

LAST = "scores.json"


class EvaluationDir(LockedFolder):
    """The output folder of one evaluation."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        """Take the folder. Nothing in it is changed before `write`.

        Raises LockedError, OutputError, or ConfigError if it holds something else.
        """
        super().__init__(path, "_eval", option="--output")
        with self._unlocked_if_refused():
            if (path / LAST).exists() and not overwrite:
                raise ConfigError(
                    f"{path} already holds an evaluation; pass --overwrite to replace it, or choose another --output"
                )

    def _refuse_strangers(self) -> None:
        if self.path.is_dir() and any(self.path.iterdir()) and not self._state.is_dir():
            raise ConfigError(f"{self.path} holds files that `pdlm eval` did not write; choose another --output")

    def write(self, files: Mapping[str, bytes]) -> None:
        """Replace what an earlier evaluation left. files: content by name, LAST among them. Raises OutputError."""
        try:
            (self.path / LAST).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror}") from error
        for name in sorted(files, key=lambda name: name == LAST):
            write_atomic(self.path / name, files[name])
