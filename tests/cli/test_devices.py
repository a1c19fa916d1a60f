"""Worker processes with a real model in them, and faults that really happen there."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model.settings import DecodeSettings
from pdlm_cli import engine
from pdlm_cli.device import device_errors
from pdlm_cli.devices.faults import Faults
from pdlm_cli.devices.fleet import Fleet, open_workers
from pdlm_cli.engine import load_engine
from pdlm_cli.errors import DeviceError, OutOfDeviceMemory
from tests.cli.runs import many, rows_of, run
from tests.cli.support import CHECKPOINT, Dataset, no_thread_left
from tests.cli.test_process import LIMIT_S, caption, start

DECODE = DecodeSettings(steps=2, length=4)
FAST = ["--steps", 2, "--length", 4]


@contextmanager
def workers(*devices: str, timeout: float | None = None) -> Iterator[Fleet]:
    with no_thread_left(), open_workers(str(CHECKPOINT), devices or ["cpu"], "fp32", DECODE, timeout) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """For workers: the model is too small for more, and what is measured here are seconds."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_the_cpu_takes_several_passes_a_call_where_none_is_padded() -> None:
    assert load_engine(None, "cpu", "fp32", DECODE).batch_size == 4
    assert load_engine(None, "cpu", "fp32", replace(DECODE, cache="none")).batch_size == 1


def test_memory_that_torch_holds_for_nothing_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [10**15]  # what small weights have passed through
    monkeypatch.setattr(engine, "free_memory", held.clear)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**15 - sum(held), 10**15))
    config, dtype = load_engine(None, "cpu", "fp32", DecodeSettings()).model.config, torch.float32
    on_gpu: Any = SimpleNamespace(config=config, dtype=dtype, device=torch.device("cuda"))
    lanes, planned = engine._plan_memory(on_gpu, DecodeSettings())
    assert lanes == 16
    assert planned.startswith("931322.6 GiB free") and planned.endswith("16 passes at once")


def test_a_run_says_how_memory_was_planned() -> None:
    assert load_engine(None, "cpu", "fp32", DECODE).facts["memory"] == "not planned on the CPU"


@pytest.fixture
def expected(dataset: Dataset, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Rows by key of passes of 3, 2, 3, 1, 3, 4 and 3 regions, captioned in this process without any fault."""
    many(dataset, [3, 2, 3, 1, 3, 4, 3])
    engine = load_engine(str(CHECKPOINT), "cpu", "fp32", DECODE)
    run(dataset, tmp_path / "expected", engine, batch_size=1)
    return by_key(tmp_path / "expected")


def by_key(out: Path) -> dict[str, dict[str, Any]]:
    return {row["region_key"]: row for row in rows_of(out, times=False)}


def check_rows(out: Path, expected: dict[str, dict[str, Any]], codes: dict[int, str]) -> None:
    """codes: expected errors, by the number of regions of the pass; all other rows are as without a fault."""
    found = by_key(out)
    assert list(found) == list(expected)
    for key, row in found.items():
        code = codes.get(expected[key]["pass_size"])
        assert row["error_code"] == code
        if code is None:
            assert row["mean_confidence"] == pytest.approx(expected[key]["mean_confidence"], rel=1e-4)
            assert {**row, "mean_confidence": 0} == {**expected[key], "mean_confidence": 0}
        else:
            assert row["caption"] is None and row["error_message"]
            assert (row["pass_id"], row["pass_size"]) == (expected[key]["pass_id"], expected[key]["pass_size"])


@pytest.mark.fault("device out of memory")
@pytest.mark.fault("device error, NaN logits, hung pass")
def test_a_run_outlives_too_little_memory_and_nan_and_a_worker_that_dies_once(
    dataset: Dataset, tmp_path: Path, expected: dict[str, dict[str, Any]]
) -> None:
    out = tmp_path / "out"
    arguments = caption(dataset, out, *FAST, "--batch-size", 5, "--json")
    process = start(*arguments, fault="oom-above:3,nan:1,oom:4,die:2@0")
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 3, stderr
    check_rows(out, expected, {1: "nan_logits", 4: "device_oom"})
    incidents = {"worker_restarts": 1, "passes_at_once": 1}
    assert json.loads(stdout)["incidents"] == incidents
    assert "; cpu waited for input" in stderr
    assert json.loads((out / "_pdlm/stats.json").read_text())["incidents"] == incidents
    log = [json.loads(line) for line in (out / "_pdlm/log.jsonl").read_text().splitlines()]
    assert [line["passes"] for line in log if line.get("event") == "batch_size"] == [2, 1]


@pytest.mark.parametrize("lanes", [None, 1, 2])
def test_nan_on_purpose_hits_its_passes_whatever_else_is_on_the_device(
    dataset: Dataset,
    tmp_path: Path,
    expected: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    lanes: int | None,
) -> None:
    monkeypatch.setenv("PDLM_DEVICE_FAULT", "nan:3")
    faulty = replace(load_engine(str(CHECKPOINT), "cpu", "fp32", DECODE), lanes=lanes)
    Faults.of_environment(faulty.model, life=0)
    run(dataset, tmp_path / "out", faulty, batch_size=4)
    check_rows(tmp_path / "out", expected, {3: "nan_logits"})


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_a_run_outlives_lost_workers_until_the_device_is_broken(
    dataset: Dataset, tmp_path: Path, expected: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fifth worker dies, and so does the sixth, with another pass than the fourth was lost with."""
    monkeypatch.setenv("PDLM_DEVICE_FAULT", "error:2,hang:1,die:3@4,die:3@5")
    out = tmp_path / "out"
    with workers(timeout=10.0) as fleet:
        with pytest.raises(DeviceError, match="fails with every pass, in fresh workers too") as caught:
            run(dataset, out, fleet, batch_size=1, part_rows=3)
        assert fleet.incidents == {"worker_restarts": 5}
    assert caught.value.exit_code == 6
    assert "was ended by SIGKILL" in str(caught.value)
    kept = rows_of(out, times=False)
    sizes = [row["pass_size"] for row in kept]
    assert sizes == [3] * 3 + [2] * 2 + [3] * 3 + [1]
    codes = {2: "device_error", 1: "timeout"}
    check_rows(out, dict(list(expected.items())[: len(kept)]), codes)
    messages = {row["error_code"]: row["error_message"] for row in kept}
    assert "CUDA error: an illegal memory access" in messages["device_error"]
    assert "within 10 s" in messages["timeout"]


def test_two_workers_write_what_one_does(
    dataset: Dataset, tmp_path: Path, expected: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with workers("cpu", "cpu") as fleet:
        assert (fleet.parallel, fleet.facts["device"]) == (2, "cpu, cpu")
        report = run(dataset, tmp_path / "two", fleet, batch_size=1)
        check_rows(tmp_path / "two", expected, {})
        assert [(idle["device"], idle["share"] < 1) for idle in report.summary()["device_idle"]] == [("cpu", True)] * 2
        # One is lost for good, and the other does the rest.
        fleet._devices[0].caption = lambda passes: (_ for _ in ()).throw(DeviceError("unplugged"))  # type: ignore
        run(dataset, tmp_path / "rest", fleet, batch_size=2)
    check_rows(tmp_path / "rest", expected, {})


def test_fp32_is_fp32_in_convolutions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA torch would compute them in TF32, of ten bits, and captions would be others than on the CPU."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    load_engine(None, "cpu", "fp32", DecodeSettings())
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.fault("device out of memory")
def test_memory_that_the_cpu_does_not_have_is_told_apart_from_a_bug() -> None:
    with pytest.raises(OutOfDeviceMemory, match="can't allocate memory"), device_errors():
        torch.empty(1 << 55, dtype=torch.uint8)
    with pytest.raises(OutOfDeviceMemory, match="CUDA out of memory"), device_errors():
        raise torch.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(DeviceError, match="the device failed: CUDA error: CUBLAS_STATUS"), device_errors():
        raise RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling cublasGemmEx")
    with pytest.raises(RuntimeError, match="size of tensor"), device_errors():
        torch.zeros(2) + torch.zeros(3)
