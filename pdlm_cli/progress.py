"""How far a run is: a bar on a terminal, a line every ten seconds elsewhere."""

import threading
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from pdlm_cli.logs import log

SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """A context manager that is told of finished items."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def advance(self, items: int) -> None: ...


def open_progress(total: int, log_format: str, console: Console, *, doing: str, unit: str, done: int = 0) -> Progress:
    """total: items of the whole run, failed ones included. done: items that earlier runs did, which count for no rate.
    doing, unit: words, such as captioning and regions."""
    if log_format == "rich":
        return BarProgress(total, console, doing, unit, done)
    return LineProgress(total, unit, done)


class BarProgress:
    """A bar with items per second and the time left."""

    def __init__(self, total: int, console: Console, doing: str, unit: str, done: int) -> None:
        self._earlier = done
        self._started = time.monotonic()
        self._bar = RichProgress(
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.2f} " + f"{unit}/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("", total=total, completed=done, rate=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, items: int) -> None:
        done = self._bar.tasks[0].completed + items - self._earlier
        self._bar.update(self._task, advance=items, rate=done / (time.monotonic() - self._started))


class LineProgress:
    """A log line every ten seconds, from a thread of its own: a slow pass must not look like a dead one."""

    def __init__(self, total: int, unit: str, done: int) -> None:
        self._total = total
        self._unit = unit
        self._done = self._earlier = done
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._lines, daemon=True)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def advance(self, items: int) -> None:
        self._done += items

    def _lines(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LINES):
            self.line()

    def line(self) -> None:
        rate = (self._done - self._earlier) / (time.monotonic() - self._started)
        left = f", {(self._total - self._done) / rate:.0f} s left" if rate else ""
        log.info(
            "%d of %d %s, %.2f %s/s%s",
            self._done,
            self._total,
            self._unit,
            rate,
            self._unit,
            left,
            extra={"facts": {"event": "progress", "done": self._done, "total": self._total, "rate": rate}},
        )
