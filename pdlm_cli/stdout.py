"""stdout is for results that another program reads; text from models and files is made harmless for a terminal."""

import io
import os
import sys


def printable(text: str) -> str:
    """The text with what can style a terminal or move its cursor replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def prepare_streams() -> None:
    """Lead standard streams that a parent has closed to nowhere: the next file to be opened would take their place, and
    get what is meant for them. Where the locale of stdout lacks a character, an escape stands for it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, as long as the process
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(errors="backslashreplace")


def print_line(text: str) -> bool:
    """Print a line, and tell whether there still is who reads it; that it is gone is no failure of what was done."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        return True
    except BrokenPipeError:
        # The interpreter flushes once more when it ends, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
