"""One writer a folder: a lock that ends with its process, however that ends."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from pdlm_cli.errors import LockedError, OutputError


class LockedFolder:
    """An output folder that this process alone writes to. A context manager: the lock ends with it."""

    def __init__(self, path: Path, state: str, *, option: str, inside: Sequence[str] = ()) -> None:
        """Make `path`/`state`, where the lock and what is known of the run lie, and lock the folder.

        option: that names the folder, for errors. inside: folders of the state that are wanted too. Raises LockedError,
        OutputError, and what `_refuse_strangers` raises.
        """
        self.path, self._state = path, path / state
        try:
            self._refuse_strangers()
            for name in ("", *inside):
                (self._state / name).mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(path, self._state / "lock")
        except OSError as error:
            raise OutputError(f"cannot write to {path}: {error.strerror}; {option} names the folder") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def _refuse_strangers(self) -> None:
        """Raise ConfigError if the folder, not yet touched, holds what is not ours to write beside."""

    @contextmanager
    def _unlocked_if_refused(self) -> Iterator[None]:
        """For what a constructor does once it has the lock: nobody would let go of it after an error."""
        try:
            yield
        except BaseException:
            self._lock.close()
            raise


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
