"""No more threads than there are cores for them, whatever the machine has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.sizes import random_model
from pdlm_cli import cores, device
from pdlm_cli.cores import on_cores, usable_cores
from pdlm_cli.devices import fleet
from pdlm_cli.options import default_workers


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 64 cores, of which this process may run on eight. Returns the folder of its control group."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "CONTROL_GROUP", tmp_path)
    return tmp_path


def test_cores_are_those_that_the_process_may_run_on(eight: Path) -> None:
    assert usable_cores() == 8
    assert default_workers() == 7
    assert fleet._threads(["cpu", "cpu"]) == 4
    assert fleet._threads(["0", "1"]) is None  # CUDA devices


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot be told")
def test_a_few_cores_are_for_the_processes_that_are_started_meanwhile() -> None:
    count = [sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"]
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), on_cores(1):
        assert usable_cores() == 1
        assert subprocess.run(count, check=True, capture_output=True, text=True).stdout == "1\n"
        raise KeyError
    assert os.sched_getaffinity(0) == before


def test_where_the_system_cannot_be_told_all_cores_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    before = usable_cores()
    with on_cores(1):
        assert usable_cores() == before


@pytest.mark.parametrize(("limit", "expected"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)])
def test_a_container_may_be_granted_fewer(eight: Path, limit: str, expected: int) -> None:
    (eight / "cpu.max").write_text(f"{limit}\n")
    assert usable_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3)])
def test_so_may_one_of_the_older_control_groups(eight: Path, quota: str, expected: int) -> None:
    (eight / "cpu").mkdir()
    (eight / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (eight / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores() == expected


@pytest.mark.parametrize(("own", "usable", "expected"), [(16, 2, 2), (1, 2, 1)])
def test_torch_takes_no_more_threads_on_the_cpu_and_fewer_where_it_was_told_to(
    own: int, usable: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [own]
    monkeypatch.setattr(torch, "get_num_threads", lambda: taken[-1])
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr(device, "usable_cores", lambda: usable)
    device.place(random_model("tiny"), torch.device("cpu"), None, compiled=False)
    assert taken[-1] == expected
