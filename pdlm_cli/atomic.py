"""Files, and folders, that are whole or absent, whatever moment the power goes.

A file is staged under a temporary name, `.<name>.tmp`, and published by a rename. On the way it passes named points:

    opened  half  written  synced  renamed  durable

PDLM_KILL_AT=<file name>:<point> has the process killed there, as by `kill -9`: with it, tests see what survives.
"""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pdlm_cli.errors import OutputError, unwritten

POINTS = ("opened", "half", "written", "synced", "renamed", "durable")


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: a reader sees the old file or the new one; after return, the new one lasts.

    Raises OutputError and leaves nothing behind if the disk refuses.
    """
    stage(path, data)
    publish(path)


def stage(path: Path, data: bytes) -> None:
    """Write what is to become `path` beside it, durably. Raises OutputError, and leaves nothing behind then."""
    with _staging(path) as file:
        half = len(data) // 2
        file.write(data[:half])
        _reached("half", path)
        file.write(data[half:])


def publish(path: Path) -> None:
    """Give what was staged for `path` its name, durably. Raises OutputError, and leaves nothing behind then."""
    try:
        os.replace(temporary(path), path)
        _reached("renamed", path)
        sync(path.parent)
        _reached("durable", path)
    except OSError as error:
        temporary(path).unlink(missing_ok=True)
        raise unwritten(path, error) from error


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends, and is removed if the block raises.

    Raises OutputError if the disk refuses. For what is too large to be held as bytes.
    """
    with _staging(path) as file:
        yield file
    publish(path)


@contextmanager
def open_folder(path: Path) -> Iterator[Path]:
    """A folder that becomes `path` when the block ends, and is removed if the block raises. What `path` was is removed;
    if that is a link, what it leads to.

    Raises OutputError if the disk refuses.
    """
    try:
        place = path.resolve()
        place.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            staged.chmod(0o755)  # mkdtemp makes folders that only their owner can open
            yield staged
            os.sync()  # what is in it, however many files, before its name
            _replace_folder(place, staged)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def temporary(path: Path) -> Path:
    """Where `path` is staged."""
    return path.with_name(f".{path.name}.tmp")


def remove_files(folder: Path, *patterns: str) -> None:
    """Remove the files of a folder that match any of the patterns. Raises OutputError."""
    try:
        for pattern in patterns:
            for file in folder.glob(pattern):
                file.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error


def sync(path: Path) -> None:
    """Force a file to the disk, or the names in a folder: a name is only durable once its folder is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _staging(path: Path) -> Iterator[BinaryIO]:
    try:
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write {path}: a folder, a device or a pipe would be replaced; name a file")
        with open(temporary(path), "wb") as file:
            _reached("opened", path)
            yield file
            file.flush()
            _reached("written", path)
            os.fsync(file.fileno())
        _reached("synced", path)
    except OSError as error:
        temporary(path).unlink(missing_ok=True)
        raise unwritten(path, error) from error
    except BaseException:
        temporary(path).unlink(missing_ok=True)
        raise


def _replace_folder(path: Path, staged: Path) -> None:
    """A folder that is not empty is never renamed over: the old one steps aside first."""
    if path.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        path.rename(old)
        try:
            staged.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old)
    else:
        staged.rename(path)
    sync(path.parent)


def _reached(point: str, path: Path) -> None:
    assert point in POINTS
    if os.environ.get("PDLM_KILL_AT") == f"{path.name}:{point}":
        os.kill(os.getpid(), signal.SIGKILL)


def as_json(value: Mapping[str, Any]) -> bytes:
    """The content of a JSON file that people read too."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
