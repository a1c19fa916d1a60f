"""How fast training is: a bar on a terminal, a log line now and then elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# Dense bf16 operations a second, by a part of the device's name, from the vendor's data sheets (without sparsity). The
# first that fits counts.
PEAK_FLOPS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "B200": 2250e12,
}


def peak_flops(device: str) -> float | None:
    """Of a device by its name, None if it is not known."""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in device), None)


class Meter:
    """Tokens and operations since the last reading, and the bar if `bar` is true. A context manager."""

    def __init__(self, console: Console, *, bar: bool, total: int, done: int, peak_flops: float | None) -> None:
        """total, done: optimizer steps. peak_flops: of all devices together, None if not known."""
        self._peak = peak_flops
        self._tokens = self._flops = 0.0
        self._since = time.perf_counter()
        self._bar = Progress(
            BarColumn(bar_width=None),  # what the rest leaves, of 80 columns too
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not bar,
            expand=True,
        )
        self._task = self._bar.add_task("", total=total, completed=done, state="")

    def __enter__(self) -> "Meter":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, tokens: int, flops: float) -> None:
        self._tokens += tokens
        self._flops += flops

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Time in the block is not that of steps."""
        started = time.perf_counter()
        yield
        self._since += time.perf_counter() - started

    def step(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def show(self, logs: Mapping[str, float]) -> None:
        """Loss and speed of a training step beside the bar, until newer ones are known."""
        words = [f"loss {logs['loss']:.3f}", f"{logs['tokens_per_second']:,.0f} tokens/s"]
        if "flop_utilisation" in logs:
            words.append(f"{logs['flop_utilisation']:.0%} MFU")
        self._bar.update(self._task, state=", ".join(words))

    def read(self) -> dict[str, float]:
        """tokens_per_second and, where the device's peak is known, flop_utilisation, since the last reading."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        reading = {"tokens_per_second": self._tokens / seconds}
        if self._peak is not None:
            reading["flop_utilisation"] = self._flops / seconds / self._peak
        self._tokens = self._flops = 0.0
        return reading
