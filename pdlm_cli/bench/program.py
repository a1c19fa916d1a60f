"""A program that is measured from outside: a process and all that it starts."""

import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pdlm_cli.bench import usage
from pdlm_cli.bench.usage import Meter, Usage, resident_bytes
from pdlm_cli.errors import DeviceError

EVERY_S = 0.1  # looks at memory, which are work themselves


@dataclass(frozen=True)
class Ended:
    """seconds: from its start to its end. used: by all of its processes; of the GPU, by whoever uses it."""

    seconds: float
    used: Usage


def run_program(command: Sequence[str], meter: Meter) -> Ended:
    """Raises DeviceError if it fails."""
    before, started = _cpu_seconds(), time.perf_counter()
    with (
        subprocess.Popen(  # nosec B603 # this very program, no shell
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process,
        replace(meter, every=EVERY_S).stretch(lambda: family_bytes(process.pid)) as used,
    ):
        said = process.communicate()[1]
    seconds = time.perf_counter() - started
    check_ended(process.returncode, said)
    used.cpu_seconds = _cpu_seconds() - before
    used.peak_device_bytes = None  # torch says it of this process alone
    return Ended(seconds, used)


def check_ended(code: int, said: str) -> None:
    """code: of a run that was to be measured. said: on stderr. Raises DeviceError unless it did what it was to do."""
    if code != 0:
        raise DeviceError(f"a run that was to be measured ended with {code}: {said.strip()[-400:]}")


def family_bytes(process: int) -> int | None:
    """Memory that a process holds and those that it has started, what they share counted in each; None where the system
    does not say, or where it has just ended."""
    family = [process]
    for member in family:  # which grows meanwhile
        for task in (usage.PROC / str(member) / "task").glob("*/children"):
            try:
                family += map(int, task.read_text().split())
            except OSError:  # it has just ended
                continue
    known = [held for member in family if (held := resident_bytes(member)) is not None]
    return sum(known) if known else None


def _cpu_seconds() -> float:
    """Of all processes that were started here and have ended, and of theirs."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
