"""`pdlm` as a process of its own: signals, locks, pipes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.support import CHECKPOINT, REPOSITORY, Dataset

PDLM = [sys.executable, "-m", "pdlm_cli"]
LIMIT_S = 600  # for anything a process is waited for: the machine may be busy
STARTED: list[subprocess.Popen[str]] = []
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def start(*arguments: object, stdout: int = subprocess.PIPE, fault: str = "") -> subprocess.Popen[str]:
    """In a process group of its own. fault: see pdlm_cli.devices.faults."""
    process = subprocess.Popen(
        [*PDLM, *map(str, arguments)],
        env=ENVIRONMENT | {"PDLM_DEVICE_FAULT": fault},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.append(process)
    return process


@pytest.fixture(autouse=True)
def nothing_goes_on_after_a_test() -> Iterator[None]:
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def caption(dataset: Dataset, out: Path, *arguments: object) -> Sequence[object]:
    dataset.write()
    model = ["--model", CHECKPOINT, "--device", "cpu"]
    return ["caption", "--input", dataset.file, "--output", out, *model, *arguments]


def slow(dataset: Dataset) -> Dataset:
    """More passes than any test waits for."""
    for _ in range(400):
        dataset.region(dataset.image())
    return dataset


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(20 * LIMIT_S):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def children(parent: int) -> list[int]:
    """Ids of the processes that `parent` has started, by any of its threads."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(number) for task in tasks for number in task.read_text().split()]


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_a_run_as_a_process(dataset: Dataset, tmp_path: Path) -> None:
    dataset.region(dataset.image())
    process = start(*caption(dataset, tmp_path / "out", "--steps", 2, "--json"))
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["ok"] == 1
    assert "1 rows" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_commits_what_is_done(dataset: Dataset, tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "out"
    process = start(*caption(slow(dataset), out, "--part-rows", 2, "--length", 64, "--steps", 64))
    wait_for(out / "_pdlm/done/00000.json", process)
    (worker,) = children(process.pid)
    os.killpg(process.pid, number)  # as a Ctrl-C does: worker processes get it too
    _, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert not alive(worker)
    rows = pq.read_table(out / "data")
    assert 2 <= rows.num_rows < 400
    assert rows["source_index"].to_pylist() == list(range(rows.num_rows))
    assert json.loads((out / "_pdlm/stats.json").read_text())["interrupted"]
    assert not (out / "_SUCCESS").exists()
    assert not list(out.glob("data/.*"))


def test_a_signal_while_the_model_loads_ends_at_once(dataset: Dataset, tmp_path: Path) -> None:
    dataset.region(dataset.image())
    process = start(*caption(dataset, tmp_path / "out"))
    assert process.stderr is not None
    assert "is coco-instances" in process.stderr.readline()
    assert "loading the model" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_no_worker_outlives_a_parent_that_is_killed(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(*caption(slow(dataset), out), fault="hang:*")
    wait_for(out / "_pdlm/run.json", process)
    (worker,) = children(process.pid)
    process.kill()
    process.communicate()
    for _ in range(100):
        if not alive(worker):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {worker} is still there")


def test_a_second_signal_does_not_wait(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Each part is one model call of many seconds, and the second call begins where the first part is written.
    process = start(*caption(slow(dataset), out, "--part-rows", 1, "--length", 320, "--steps", 320))
    wait_for(out / "_pdlm/done/00000.json", process)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 143
    assert not (out / "_pdlm/stats.json").exists()


def test_two_runs_on_one_directory(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start(*caption(slow(dataset), out))
    try:
        wait_for(out / "_pdlm/lock", first)
        second = start(*caption(dataset, out, "--overwrite"))
        _, stderr = second.communicate(timeout=LIMIT_S)
        assert second.returncode == 7, stderr
        assert str(first.pid) in stderr
    finally:
        first.kill()
        first.communicate()


def test_nobody_listens_on_stdout(dataset: Dataset, tmp_path: Path) -> None:
    dataset.region(dataset.image())
    read, write = os.pipe()
    os.close(read)
    process = start(*caption(dataset, tmp_path / "out", "--steps", 2, "--json"), stdout=write)
    os.close(write)
    _, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, stderr
    assert (tmp_path / "out/_SUCCESS").exists()
    assert "Traceback" not in stderr
