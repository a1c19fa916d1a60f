"""Pictures inside zip and tar files, read where they lie: nothing is unpacked to disk."""

import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar

from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.images import spellings
from pdlm_cli.stores import Store, is_address, name_inside

MAX_MEMBER = 256 << 20  # bytes of a picture file; members are held in memory whole

Member = TypeVar("Member")


def open_archive(path: Path) -> Store:
    """Raises InputError for what is neither."""
    try:
        if zipfile.is_zipfile(path):
            return ZipArchive(path)
        return TarArchive(path)
    # NotImplementedError: of a version that Python does not know. ValueError: the name of a member is no text.
    except (OSError, NotImplementedError, ValueError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise InputError(
            f"{path} is no folder, zip or plain tar ({error}); a compressed tar cannot be read in any order: unpack it"
        ) from error


class ZipArchive:
    def __init__(self, path: Path) -> None:
        self.location = str(path)
        self._zip = zipfile.ZipFile(path)

    def open(self, name: str) -> BinaryIO:
        member = _found(self._zip.NameToInfo, name, self.location)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _link(name)
        if member.file_size > MAX_MEMBER:
            raise _too_large(name, member.file_size)
        try:
            return io.BytesIO(self._zip.read(member))
        # RuntimeError: it is encrypted. NotImplementedError: compressed in a way that Python does not know. ValueError:
        # its name is no text.
        except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise RegionError("bad_image", f"{name!r} cannot be read from {self.location}: {error}") from error

    def names(self) -> Iterator[str]:
        return _safe_names(name for name in self._zip.namelist() if name and not name.endswith("/"))


class TarArchive:
    def __init__(self, path: Path) -> None:
        self.location = str(path)
        self._members: dict[str, tuple[int, int]] = {}  # offset and length of the bytes
        self._links: set[str] = set()
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                name = member.name.removeprefix("./")
                if member.isreg() and not member.issparse():
                    self._members[name] = member.offset_data, member.size
                elif member.issym() or member.islnk():
                    self._links.add(name)
                tar.members = []  # type: ignore[attr-defined] # tarfile would keep them all, for extracting

    def open(self, name: str) -> BinaryIO:
        if name in self._links:
            raise _link(name)
        offset, length = _found(self._members, name, self.location)
        if length > MAX_MEMBER:
            raise _too_large(name, length)
        with open(self.location, "rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(length))

    def names(self) -> Iterator[str]:
        return _safe_names(self._members)


def _found(members: Mapping[str, Member], name: str, location: str) -> Member:
    if is_address(name):
        raise RegionError("outside_root", f"{name!r} is an address, and pictures are read from {location}")
    for spelling in spellings(name_inside(name)):
        if spelling in members:
            return members[spelling]
    raise RegionError("missing_image", f"no file {name!r} in {location}; --images names where pictures are")


def _safe_names(names: Iterable[str]) -> Iterator[str]:
    """In order, files of a folder in one run; those that lead out of the archive are left out, as nobody can ask."""
    inside = [name for name in names if not name.startswith(("/", "../")) and "/../" not in name]
    yield from sorted(inside, key=lambda name: (name.rpartition("/")[0], name))


def _link(name: str) -> RegionError:
    return RegionError("outside_root", f"{name!r} is a link inside an archive, which is not followed")


def _too_large(name: str, size: int) -> RegionError:
    return RegionError("bad_image", f"{name!r} has {size >> 20} MiB; files in archives may have {MAX_MEMBER >> 20}")
