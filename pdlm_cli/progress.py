"""How far a run is: a bar on a terminal, a line every ten seconds elsewhere."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from pdlm_cli import logs
from pdlm_cli.logs import log

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BEFORE_BAR = 2.0  # of what is mostly over by then
SECONDS_BETWEEN_UPDATES = 0.1  # a bar takes longer to be told than many an item takes


class Progress(Protocol):
    """A context manager that is told of finished items."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def advance(self, items: int) -> None: ...


def open_progress(
    total: int | None, log_format: str, console: Console, *, doing: str, unit: str, done: int = 0, wait: float = 0.0
) -> Progress:
    """total: items of the whole run, failed ones included; None if nobody knows. done: items that earlier runs did,
    which count for no rate. doing, unit: words, such as captioning and regions. wait: seconds before a bar is shown."""
    if log_format == "rich":
        return BarProgress(total, console, doing, unit, done, wait)
    return LineProgress(total, unit, done)


@contextmanager
def watched(
    items: Iterable[Item],
    total: int | None,
    *,
    doing: str,
    unit: str,
    weight: Callable[[Item], int] = lambda item: 1,
) -> Iterator[Iterator[Item]]:
    """The items, told of as they are done with in the form that logs.configure chose. weight: units of an item."""
    if logs.chosen is None:
        yield iter(items)
        return
    console, form = logs.chosen
    with open_progress(total, form, console, doing=doing, unit=unit, wait=SECONDS_BEFORE_BAR) as progress:
        yield _told_of(items, progress, weight)


def _told_of(items: Iterable[Item], progress: Progress, weight: Callable[[Item], int]) -> Iterator[Item]:
    done, told = 0, time.monotonic()
    for item in items:
        yield item
        done += weight(item)
        if time.monotonic() - told >= SECONDS_BETWEEN_UPDATES:
            progress.advance(done)
            done, told = 0, time.monotonic()
    if done:
        progress.advance(done)


@contextmanager
def status(doing: str) -> Iterator[None]:
    """That something goes on whose end nobody knows, in the form that logs.configure chose. doing: what, in words."""
    if logs.chosen is None:
        yield
        return
    console, form = logs.chosen
    if form == "rich":
        text = TextColumn("{task.description}", markup=False)
        with RichProgress(SpinnerColumn(), text, TimeElapsedColumn(), console=console, transient=True) as shown:
            shown.add_task(doing, total=None)
            yield
    else:
        with LineStatus(doing):
            yield


class BarProgress:
    """A bar with items per second and the time left."""

    def __init__(self, total: int | None, console: Console, doing: str, unit: str, done: int, wait: float) -> None:
        self._earlier, self._wait = done, wait
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
        self._show_in_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, items: int) -> None:
        self._show_in_time()
        done = self._bar.tasks[0].completed + items - self._earlier
        self._bar.update(self._task, advance=items, rate=done / (time.monotonic() - self._started))

    def _show_in_time(self) -> None:
        if time.monotonic() - self._started >= self._wait:
            self._bar.start()  # again, it does nothing


class Lines(ABC):
    """A log line every ten seconds, from a thread of its own: a slow pass must not look like a dead one."""

    def __init__(self) -> None:
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

    @abstractmethod
    def line(self) -> None:
        """Log how things stand."""

    def _lines(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LINES):
            self.line()


class LineStatus(Lines):
    """What goes on, and for how long."""

    def __init__(self, doing: str) -> None:
        super().__init__()
        self._doing = doing

    def line(self) -> None:
        seconds = time.monotonic() - self._started
        facts = {"event": "progress", "doing": self._doing, "seconds": seconds}
        log.info("%s, for %.0f s", self._doing, seconds, extra={"facts": facts})


class LineProgress(Lines):
    """How many items are done."""

    def __init__(self, total: int | None, unit: str, done: int) -> None:
        super().__init__()
        self._total = total
        self._unit = unit
        self._done = self._earlier = done

    def advance(self, items: int) -> None:
        self._done += items

    def line(self) -> None:
        rate = (self._done - self._earlier) / (time.monotonic() - self._started)
        left = f", {(self._total - self._done) / rate:.0f} s left" if self._total is not None and rate else ""
        facts = {"done": self._done, "total": self._total, "unit": self._unit, "rate": rate}
        log.info(
            "%d%s %s, %.2f %s/s%s",
            self._done,
            "" if self._total is None else f" of {self._total}",
            self._unit,
            rate,
            self._unit,
            left,
            extra={"facts": {"event": "progress", **facts}},
        )
