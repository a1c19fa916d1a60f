"""The folder of a training run, written to by one run at a time.

output/job.json          the job as it was resolved
output/log.jsonl         one event a line
output/checkpoints/      checkpoint-N, whole once it holds complete.json
output/samples/          captions of held-out regions, one folder an evaluation
output/tensorboard/
output/model/            the trained model, at the end
output/earlier/          log and job of attempts that came to no checkpoint: a folder each, 1, 2, ...
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from model.fields import differing
from pdlm_cli.atomic import sync, write_atomic
from pdlm_cli.errors import ConfigError, OutputError
from pdlm_cli.lock import lock_folder
from pdlm_cli.logs import log
from pdlm_cli.training.job import TrainJob
from pdlm_cli.training.typed_fields import read_settings

COMPLETE = "complete.json"
# What may differ between a run and its continuation: where and how fast it runs, not what it computes.
FREE = ("output", "device", "micro_batch", "strategy", "gradient_checkpointing", "data.workers")


class RunFolder:
    """A context manager that holds the lock. writer: whether this process is the one that writes, of several."""

    def __init__(self, path: Path, *, writer: bool) -> None:
        self.path, self.writer = path, writer
        self.checkpoints, self.samples, self.log = path / "checkpoints", path / "samples", path / "log.jsonl"
        self.tensorboard, self.model = path / "tensorboard", path / "model"

    def __enter__(self) -> Self:
        """Raises LockedError, OutputError."""
        self._lock = None
        if self.writer:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                self._lock = lock_folder(self.path, self.path / "lock")
            except OSError as error:
                raise OutputError(f"cannot write to {self.path}: {error.strerror}; output names the folder") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def claim(self, job: TrainJob, *, resume: bool) -> None:
        """Make the folder this job's. Raises ConfigError if it holds a run and `resume` is false, or another job's,
        OutputError."""
        if not self.writer:
            return  # one process decides for all
        record = self.path / "job.json"
        begun = self.last_checkpoint() is not None or self.model.exists()
        if not begun:  # nothing to go on from, whatever job an earlier attempt was of
            self._set_aside(record)
        elif record.exists():
            if not resume:
                raise ConfigError(f"{self.path} holds a run already; pass --resume to go on, or choose another output")
            try:  # read as a job, so that fields which later versions know have their defaults
                before = read_settings(TrainJob, json.loads(record.read_text()))
            except ValueError as error:
                raise ConfigError(f"{record} is of another version of pdlm: {error}; choose another output") from error
            found = differing(before.to_dict(), job.to_dict())
            bound = [name for name in found if name not in FREE and not name.startswith("report.")]
            if bound:
                raise ConfigError(
                    f"{self.path} holds a run of another job: {', '.join(bound)} differ; resume with the values "
                    "it had, or choose another output"
                )
        write_atomic(record, (json.dumps(job.to_dict(), indent=2) + "\n").encode())

    def _set_aside(self, record: Path) -> None:
        """Keep what an attempt has logged and shown, apart: curves and reports are of one run. Raises OutputError."""
        left = [path for path in (self.log, self.samples, self.tensorboard) if path.exists()]
        if not left:
            return
        number = 1
        while (place := self.path / "earlier" / str(number)).exists():
            number += 1
        try:
            place.mkdir(parents=True)
            for path in (record, *left):
                if path.exists():
                    path.rename(place / path.name)
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror}; output names the folder") from error
        log.info("an earlier attempt came to no checkpoint; its log is in %s now", place)

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint; what a crash left half written is passed over."""
        whole = [path.parent for path in self.checkpoints.glob(f"checkpoint-*/{COMPLETE}")]
        return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)

    def discard_after(self, step: int) -> None:
        """Remove checkpoints later than `step`: only half-written ones are."""
        for path in self.checkpoints.glob("checkpoint-*"):
            if int(path.name.split("-")[1]) > step and self.writer:
                shutil.rmtree(path)

    @staticmethod
    def mark_complete(checkpoint: Path, facts: Mapping[str, Any]) -> None:
        """The last thing written of a checkpoint, once the rest is on disk."""
        for path in checkpoint.rglob("*"):
            sync(path)
        write_atomic(checkpoint / COMPLETE, (json.dumps(facts) + "\n").encode())
        sync(checkpoint.parent)
