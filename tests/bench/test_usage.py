"""Gauges: GPUs by UUID, nothing where nobody knows anything, and what is counted of a stretch of work."""

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pdlm_cli.bench import nvml, usage
from pdlm_cli.bench.nvml import Gauge, Reading, open_gauge, uuid_of
from pdlm_cli.bench.program import family_bytes, run_program
from pdlm_cli.bench.usage import Meter
from pdlm_cli.errors import DeviceError


class NVMLError(Exception):
    pass


class FakeNvml:
    """Two GPUs, of which the second does not count energy."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
    uuids = ("GPU-aaaa", "GPU-bbbb")

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        if uuid not in self.uuids:
            raise NVMLError(uuid)
        return self.uuids.index(uuid)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: int) -> int:
        if gpu == 1:
            raise NVMLError("not supported")
        return 5000

    def nvmlDeviceGetPowerUsage(self, gpu: int) -> int:
        return 100_000 * (gpu + 1)

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> Any:
        return SimpleNamespace(gpu=50)

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.1"

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> Any:
        return SimpleNamespace(used=7)

    def nvmlDeviceGetClockInfo(self, gpu: int, clock: int) -> int:
        return 1000 * clock


def test_a_gpu_is_found_by_its_uuid_whatever_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    # CUDA_VISIBLE_DEVICES=1 makes the second GPU of the machine cuda:0.
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="bbbb"))
    gauge = open_gauge(uuid_of(torch.device("cuda:0")))
    assert gauge is not None
    assert gauge.read() == Reading(None, 200.0, 0.5, 7, 1000, 2000)
    assert gauge.driver == "580.1"


def test_what_a_gpu_does_not_tell_is_none() -> None:
    assert Gauge(FakeNvml(), "GPU-aaaa").read().joules == 5.0
    assert Gauge(FakeNvml(), "GPU-bbbb").read().joules is None


def test_without_a_gpu_or_a_driver_there_is_no_gauge(monkeypatch: pytest.MonkeyPatch) -> None:
    assert uuid_of(torch.device("cpu")) is None
    assert open_gauge(None) is None
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    assert open_gauge("cccc") is None  # a GPU that NVML does not see

    def no_driver() -> None:
        raise NVMLError("library not found")

    monkeypatch.setattr(fake, "nvmlInit", no_driver)
    assert open_gauge("aaaa") is None


def test_the_real_library_says_none_where_there_is_no_driver() -> None:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert nvml.open_gauge("0000") is None
    else:
        pynvml.nvmlShutdown()


def test_a_stretch_counts_cpu_time_and_memory_and_no_energy() -> None:
    with Meter(torch.device("cpu")).stretch() as used:
        kept = bytearray(b"x" * 200_000_000)
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
    assert len(kept) == 200_000_000
    assert used.cpu_seconds is not None and used.cpu_seconds >= 0.1
    assert used.peak_rss_bytes is not None and used.peak_rss_bytes > 200_000_000
    assert used.joules is used.watts is used.utilization is used.sm_mhz is used.peak_device_bytes is None


def test_a_stretch_keeps_all_that_the_gauge_tells() -> None:
    with Meter(torch.device("cpu"), Gauge(FakeNvml(), "GPU-aaaa")).stretch() as used:
        pass
    assert (used.joules, used.watts, used.utilization) == (0.0, 100.0, 0.5)
    assert (used.peak_gpu_bytes, used.sm_mhz, used.memory_mhz) == (7, 1000, 2000)


def test_where_the_system_does_not_say_memory_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(usage, "PROC", tmp_path)
    with Meter(torch.device("cpu")).stretch() as used:
        pass
    assert used.peak_rss_bytes is None


SPENDER = """
import subprocess, sys, time
kept = bytearray(b"x" * 50_000_000)
if len(sys.argv) > 1:
    raise SystemExit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
until = time.process_time() + 0.5
while time.process_time() < until:
    pass
"""


def test_a_program_is_measured_with_what_it_starts() -> None:
    command = [sys.executable, "-c", SPENDER, SPENDER]
    ended = run_program(command, Meter(torch.device("cpu"), Gauge(FakeNvml(), "GPU-aaaa")))
    assert ended.used.cpu_seconds is not None and ended.used.cpu_seconds >= 0.5
    assert ended.seconds >= 0.5
    assert ended.used.peak_rss_bytes is not None and ended.used.peak_rss_bytes > 100_000_000  # of both
    assert ended.used.watts == 100.0


def test_a_program_that_fails_is_told_of_with_its_last_words() -> None:
    with pytest.raises(DeviceError, match="ended with 3: no luck"):
        run_program(
            [sys.executable, "-c", "import sys; sys.stderr.write('no luck'); sys.exit(3)"], Meter(torch.device("cpu"))
        )
    assert family_bytes(2**30) is None  # a process that there is not


def test_energy_is_the_counter_of_the_gpu_or_its_power_over_time() -> None:
    counted = [(0.0, Reading(joules=3.0, watts=9.0)), (2.0, Reading(joules=10.0, watts=9.0))]
    assert usage._joules(counted) == 7.0
    powers = [(0.0, Reading(watts=100.0)), (1.0, Reading(watts=50.0)), (3.0, Reading(watts=50.0))]
    assert usage._joules(powers) == 200.0
    assert usage._joules([(0.0, Reading()), (1.0, Reading())]) is None
