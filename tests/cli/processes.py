"""Runs as processes of their own that are cheap to start, to be killed, signalled and starved.

A server process imports pdlm once and forks for each run, before it has any thread.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.cli.support import REPOSITORY, Dataset

SERVER = """
import json, os, sys
import pdlm_cli.caption_job, pdlm_cli.commands.caption
from pdlm_cli.main import main

for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream in (1, 2):
            os.dup2(os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        os.environ.update(job["environment"])
        main(job["arguments"])
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass
class Running:
    """A run under way. pid: of its process."""

    pid: int
    server: "ForkServer"

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # it was through already
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        return self.server.read()


class ForkServer:
    """Starts `pdlm` in forks of one process, one at a time. A context manager. log: what the runs say."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, *arguments: object, environment: Mapping[str, str] | None = None) -> Running:
        assert self._process.stdin is not None
        job = {"arguments": [*map(str, arguments)], "environment": dict(environment or {}), "log": str(self.log)}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Running(self.read(), self)

    def run(self, *arguments: object, environment: Mapping[str, str] | None = None) -> int:
        return self.start(*arguments, environment=environment).wait()

    def read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def small_squares(dataset: Dataset, images: int) -> Dataset:
    """Pictures of one tile, with one to three regions: quick to prepare."""
    for i in range(images):
        image = dataset.image(32, 32)
        for _ in range(1 + i % 3):
            dataset.region(image)
    dataset.write()
    return dataset


def dry(dataset: Dataset, out: Path, *arguments: object) -> list[object]:
    """Arguments of a run without a network."""
    return ["caption", "--input", dataset.file, "--output", out, "--dry-run-model", "--workers", 2, *arguments]
