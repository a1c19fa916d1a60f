"""stdout is for results that another program reads."""

import os
import sys


def print_line(text: str) -> None:
    """Print a line; if the reader has gone, that is no failure of what was done."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more when it ends, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
