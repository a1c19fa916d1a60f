"""Files that are whole or absent, whatever moment the power goes."""

import os
from pathlib import Path

from pdlm_cli.errors import OutputError


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: a reader sees the old file or the new one; after return, the new one lasts.

    Writes `.<name>.tmp` beside it. Raises OutputError and leaves nothing behind if the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}; what was committed before is intact") from error


def _sync_folder(folder: Path) -> None:
    """The rename itself is only durable once the folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
