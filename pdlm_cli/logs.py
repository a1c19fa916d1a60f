"""Logs of a run, on stderr in the chosen form and as JSON lines in the run directory."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from pdlm_cli.errors import OutputError, PdlmError

log = logging.getLogger("pdlm_cli")
chosen: tuple[Console, str] | None = None  # what `configure` returned last; a library alone shows no progress


def configure(log_format: str) -> tuple[Console, str]:
    """Send the package's logs to stderr: rich, plain, json, or auto: rich on a terminal, plain elsewhere.

    Returns the console that progress and tables must share with the logs, and the form chosen.
    """
    global chosen
    form = log_format
    if log_format == "auto":
        form = "rich" if sys.stderr.isatty() else "plain"
    console = LastingConsole(stderr=True)
    handler: logging.Handler
    if form == "rich":
        handler = RichHandler(console=console, show_path=False, markup=False, highlighter=None)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines() if form == "json" else PlainLines())
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [handler]
    chosen = console, form
    return chosen


@contextmanager
def also_to(path: Path) -> Iterator[None]:
    """Append the logs to a file as JSON lines, whatever stderr shows, and the error that ends the block."""
    handler = RunLog(path)
    log.addHandler(handler)
    try:
        yield
    except Exception as error:
        handler.handle(ending(error))  # in this file alone: `main` tells stderr, after the file was closed
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


def ending(error: Exception) -> logging.LogRecord:
    """The event of an error that ends a command: a bug comes with its traceback, any other says enough itself."""
    message, traceback = str(error), None
    if not isinstance(error, PdlmError):
        message = f"a bug in pdlm, please report it with its traceback: {type(error).__name__}: {error}"
        traceback = (type(error), error, error.__traceback__)
    return log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (message,), traceback)


class LastingConsole(Console):
    """Goes quiet when nobody reads stderr any more, instead of ending the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class RunLog(logging.FileHandler):
    """The log file of a run. A full disk ends the run where its rows are written; the log only falls silent."""

    def __init__(self, path: Path) -> None:
        try:
            if path.exists() and _last_byte(path) not in (b"", b"\n"):  # killed in the middle of a line
                with path.open("a") as file:
                    file.write("\n")
            super().__init__(path, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        self.setFormatter(JsonLines())

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """What a RunLog has written, in order, but for a line that a kill has cut off."""
    for line in path.read_bytes().split(b"\n"):
        with suppress(ValueError):
            yield json.loads(line)


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        return file.read(1)


class PlainLines(logging.Formatter):
    """`12:30:01 INFO: message`, one line an event; below that of a bug its traceback, as Python prints it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).replace("\n", "\\n").replace("\r", "\\r")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, message, and what was passed as extra={"facts": {...}}."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        event = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event | getattr(record, "facts", {}), ensure_ascii=False)
