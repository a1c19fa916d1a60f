"""Cores that this process may use, which in a container or under a scheduler are fewer than the machine has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")  # as a container sees its own


def usable_cores() -> int:
    """Those it may run on, or as many as its container is granted the time of; at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = _granted()
    return cores if granted is None else max(1, min(cores, int(granted)))


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """This thread, and the processes that it starts meanwhile, on so many cores at most, where the system can be told
    so."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _granted() -> float | None:
    """Seconds of CPU in a second, None without a limit."""
    try:
        quota, period = (CONTROL_GROUP / "cpu.max").read_text().split()
    except OSError:
        try:  # as control groups were before their second version
            quota, period = ((CONTROL_GROUP / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    return None if quota.strip() in ("max", "-1") else int(quota) / int(period)
