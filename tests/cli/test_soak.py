"""Many regions through the real pipeline, without a network: memory, open files and processes stay flat."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.processes import dry
from tests.cli.support import REPOSITORY, Dataset

REGIONS, OF_AN_IMAGE, PART = 100_000, 50, 1000


@dataclass(frozen=True)
class Sample:
    """What a process holds. rss: bytes in memory. files: open file descriptors."""

    rss: int
    files: int
    threads: int


def sample(pid: int) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    kilobytes = int(status["VmRSS"].split()[0])
    return Sample(kilobytes * 1024, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]))


def samples(process: subprocess.Popen[bytes], out: Path) -> Iterator[tuple[int, Sample]]:
    """Parts that are done, and what the process holds then, until it ends."""
    while process.poll() is None:
        try:
            yield len(list(out.glob("_pdlm/done/0*.json"))), sample(process.pid)
        except (FileNotFoundError, KeyError):  # it has just ended
            return
        time.sleep(0.05)


def processes_of(word: str) -> list[str]:
    """Command lines of all processes that name `word`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended
            continue
        if word in command and int(folder.name) != os.getpid():
            found.append(command)
    return found


def soak(dataset: Dataset, out: Path, regions: int) -> None:
    """Run `regions` regions, print what was held at 10 % and at 100 %, and raise AssertionError if anything grew."""
    picture = dataset.coco["images"][dataset.image(32, 32) - 1]["file_name"]
    dataset.coco["images"].clear()
    for image in range(regions // OF_AN_IMAGE):
        number = dataset.image(32, 32, name=picture, write=False)
        for _ in range(OF_AN_IMAGE if image % 97 else OF_AN_IMAGE - 1):
            dataset.region(number)
        if image % 97 == 0:
            dataset.region(number, "nonsense")  # error rows, too, must not add up
    dataset.write()
    arguments = dry(dataset, out, "--part-rows", PART, "--max-error-rate", 0.01)
    command = [sys.executable, "-m", "pdlm_cli", *map(str, arguments)]
    parts = regions // PART
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}) as process:
        seen = list(samples(process, out))
    assert process.returncode == 0
    early = next(held for done, held in seen if done >= parts // 10)
    late = max((held for done, held in seen if done >= parts - max(1, parts // 10)), key=lambda held: held.rss)
    seconds = json.loads((out / "_pdlm/stats.json").read_text())["seconds"]
    for share, held in (("10 %", early), ("100 %", late)):
        print(f"{share:>5}: {held.rss / 1e6:.0f} MB, {held.files} open files, {held.threads} threads")
    print(f"{regions} regions in {seconds:.0f} s, processes left: {len(processes_of(str(out)))}")
    assert sum(pq.read_metadata(part).num_rows for part in out.glob("data/*")) == regions
    assert late.rss < 1.1 * early.rss + 8_000_000
    assert late.files <= early.files + 2
    assert late.threads <= early.threads + 1
    assert processes_of(str(out)) == []


@pytest.mark.soak
def test_a_hundred_thousand_regions(dataset: Dataset, tmp_path: Path) -> None:
    soak(dataset, tmp_path / "out", REGIONS)
