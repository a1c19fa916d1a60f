"""How many scenes are drawn: the bar or the lines of pdlm_cli.progress, counting pictures."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from pdlm_cli.logs import log
from pdlm_cli.progress import BarProgress, LineProgress, Progress


def open_progress(total: int, log_format: str, console: Console) -> Progress:
    """total: pictures this run has to draw."""
    return PictureBar(total, console) if log_format == "rich" else PictureLines(total)


class PictureBar(BarProgress):
    """A bar with pictures per second and the time left."""

    def __init__(self, total: int, console: Console) -> None:
        self._total = total
        self._started = time.monotonic()
        self._bar = RichProgress(
            TextColumn("drawing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} pictures/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("", total=total, rate=0.0)


class PictureLines(LineProgress):
    """A log line every ten seconds."""

    def line(self) -> None:
        rate = self._done / (time.monotonic() - self._started)
        log.info(
            "%d of %d pictures, %.0f pictures/s",
            self._done,
            self._total,
            rate,
            extra={"facts": {"event": "progress", "done": self._done, "total": self._total, "rate": rate}},
        )
