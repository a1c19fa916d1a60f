"""One writer a folder: a lock that ends with its process, however that ends."""

import fcntl
import os
from pathlib import Path
from typing import TextIO

from pdlm_cli.errors import LockedError


def lock_folder(folder: Path, file: Path) -> TextIO:
    """Lock `folder` through the lock file `file`; closing what is returned lets it go.

    Raises LockedError naming the process that holds it, and OSError if the file cannot be written.
    """
    lock = open(file, "a+")  # noqa: SIM115, held as long as the run
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise LockedError(
            f"{folder} is being written by another run (process {holder}); wait for it, or choose another folder"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock
