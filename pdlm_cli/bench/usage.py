"""What a stretch of work used: CPU time, memory, and of the GPU energy, power, utilization, clocks."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from pdlm_cli.bench.nvml import Gauge, Reading

EVERY_S = 0.02
PROC = Path("/proc")
STATM = "statm"  # of a process; resident pages are its second number
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Usage:
    """Of one stretch; fields as in `Point`, filled in when it has ended."""

    cpu_seconds: float | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    joules: float | None = None
    watts: float | None = None
    utilization: float | None = None
    peak_gpu_bytes: int | None = None
    sm_mhz: float | None = None
    memory_mhz: float | None = None


@dataclass(frozen=True)
class Meter:
    """device: a torch device. gauge: its GPU's, None for none."""

    device: Any
    gauge: Gauge | None = None
    every: float = field(default=EVERY_S)

    @contextmanager
    def stretch(self, held: Callable[[], int | None] | None = None) -> Iterator[Usage]:
        """Measure what happens in the block. held: memory now, that of this process if None."""
        import torch

        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        usage, ended = Usage(), threading.Event()
        seen: list[tuple[float, int | None, Reading]] = []
        watching = threading.Thread(target=self._watch, args=(seen, ended, held or resident_bytes), daemon=True)
        started = time.process_time()
        watching.start()
        try:
            yield usage
        finally:
            ended.set()
            watching.join()
        usage.cpu_seconds = time.process_time() - started
        usage.peak_rss_bytes = max((rss for _, rss, _ in seen if rss is not None), default=None)
        if cuda:
            usage.peak_device_bytes = torch.cuda.max_memory_allocated(self.device)
        readings = [reading for _, _, reading in seen]
        known = (own.memory_bytes for own in readings if own.memory_bytes is not None)
        usage.peak_gpu_bytes = max(known, default=None)
        usage.joules = _joules([(at, reading) for at, _, reading in seen])
        for name in ("watts", "utilization", "sm_mhz", "memory_mhz"):
            setattr(usage, name, _mean([getattr(reading, name) for reading in readings]))

    def _watch(
        self,
        seen: list[tuple[float, int | None, Reading]],
        ended: threading.Event,
        held: Callable[[], int | None],
    ) -> None:
        """Look at once, every so often, and at the end."""
        while True:
            last = ended.is_set()
            reading = self.gauge.read() if self.gauge is not None else Reading()
            seen.append((time.perf_counter(), held(), reading))
            if last:
                return
            ended.wait(self.every)


def resident_bytes(process: int | str = "self") -> int | None:
    """Memory that a process holds, None where the system does not say, or where it has just ended."""
    try:
        return int((PROC / str(process) / STATM).read_text().split()[1]) * PAGE
    except OSError:
        return None


def merged(usages: Sequence[Usage]) -> Usage:
    """Peaks of all repeats, means of everything else."""
    found = Usage()
    for own in fields(Usage):
        known = [value for usage in usages if (value := getattr(usage, own.name)) is not None]
        if known:
            setattr(found, own.name, max(known) if own.name.startswith("peak") else fmean(known))
    return found


def _joules(readings: Sequence[tuple[float, Reading]]) -> float | None:
    """What the GPU's own counter says, else its power over time."""
    first, last = readings[0][1].joules, readings[-1][1].joules
    if first is not None and last is not None:
        return last - first
    known = [(at, reading.watts) for at, reading in readings if reading.watts is not None]
    if len(known) < 2:
        return None
    return sum(watts * (after - at) for (at, watts), (after, _) in pairwise(known))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
