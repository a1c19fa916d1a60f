"""Where files lie that an input names: a folder, an archive, or a place on the net. Nothing leaves it unasked."""

import posixpath
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol

from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.images import find_image
from pdlm_cli.run_paths import RECORDS, is_run

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Store(Protocol):
    """Files by name; names use "/" and are relative to the store. Threads may read from it at once."""

    location: str

    def open(self, name: str) -> BinaryIO:
        """Raises RegionError missing_image, outside_root, bad_image."""

    def names(self) -> Iterator[str]:
        """All files, those of a folder in one run, in an order that depends on the names alone."""


def open_store(location: str, *, allow_outside: bool = False, option: str = "--images") -> Store:
    """option: that names the location, for errors. Raises InputError, and ConfigError if a package is missing."""
    if is_address(location):
        from pdlm_cli import remote

        if remote.is_folder(location):
            return remote.RemoteStore(location, allow_outside=allow_outside)
        return _archive_at(location)
    path = Path(location)
    if path.is_dir():
        return Folder(path, allow_outside=allow_outside, option=option)
    if path.is_file():
        from pdlm_cli.archives import open_archive

        return open_archive(location)
    raise InputError(f"{location} is no folder, zip or tar; {option} names the one that the file names are relative to")


@lru_cache(maxsize=4)
def _archive_at(address: str) -> Store:
    """Kept, as a run opens its input more than once and listing a tar means to go through it from end to end."""
    from pdlm_cli.archives import open_archive

    return open_archive(address)


def is_address(location: str) -> bool:
    """Whether a text is an address of the net rather than a file name."""
    return ADDRESS.match(location) is not None


class Folder:
    def __init__(self, path: Path, *, allow_outside: bool, option: str) -> None:
        self.location, self._path = str(path), path
        self._allow_outside, self._option = allow_outside, option

    def open(self, name: str) -> BinaryIO:
        if is_address(name):
            return open_address(name, allow_outside=self._allow_outside)
        path = find_image(self._path, name, allow_outside=self._allow_outside, option=self._option)
        try:
            return open(path, "rb")
        except OSError as error:
            raise RegionError("bad_image", f"{name!r} cannot be read: {error.strerror}") from error

    def names(self) -> Iterator[str]:
        yield from _names_below(self._path, "")


class WithoutFolders:
    """A store whose files may lie there without the folder that their names begin with, as where the pictures of one
    folder of COCO are all that a file of LVIS is about."""

    def __init__(self, store: Store) -> None:
        self.location, self._store = store.location, store

    def open(self, name: str) -> BinaryIO:
        try:
            return self._store.open(name)
        except RegionError as error:
            if error.code != "missing_image" or "/" not in name:
                raise
            try:
                return self._store.open(name.rpartition("/")[2])
            except RegionError:
                raise error from None

    def names(self) -> Iterator[str]:
        yield from self._store.names()


def open_address(name: str, *, allow_outside: bool) -> BinaryIO:
    """A file by its own address, in a store that is somewhere else."""
    if not allow_outside:
        raise RegionError(
            "outside_root",
            f"{name!r} is an address outside of --images; name the place there, or pass --allow-outside if the input "
            "is trusted",
        )
    from pdlm_cli.remote import read_address

    return read_address(name)


def name_inside(name: str) -> str:
    """A member name in its simplest spelling. Raises RegionError outside_root, missing_image."""
    if not name or "\0" in name or name.endswith("/"):
        raise RegionError("missing_image", f"{name!r} cannot be a file")
    simple = posixpath.normpath(name)
    if simple.startswith(("/", "../")) or simple == "..":
        raise RegionError("outside_root", f"{name!r} leads out of where pictures are read from")
    return simple


def _names_below(folder: Path, prefix: str) -> Iterator[str]:
    """Files first, then folders, each by name; links to folders are not followed, so that none leads in a circle.

    Runs are passed over: the output of one may lie among its pictures, and is no part of them when it goes on.
    """
    entries = sorted(folder.iterdir(), key=lambda path: path.name)
    yield from (prefix + path.name for path in entries if path.is_file())
    for path in entries:
        if path.is_dir() and not path.is_symlink() and path.name != RECORDS and not is_run(path):
            yield from _names_below(path, f"{prefix}{path.name}/")
