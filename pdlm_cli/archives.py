"""Pictures inside zip and tar files, on disk or at an address, read where they lie: nothing is unpacked or fetched
whole."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, TypeVar

from pdlm_cli import remote
from pdlm_cli.errors import InputError, PdlmError, RegionError
from pdlm_cli.images import spellings
from pdlm_cli.stores import Store, is_address, name_inside

MAX_MEMBER = 256 << 20  # bytes of a picture file; members are held in memory whole

Member = TypeVar("Member")


TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257


def is_archive(location: str) -> bool:
    """Whether a file, by its name or address, is a zip or a tar. Raises OSError, InputError."""
    with _opened(location) as file:
        return zipfile.is_zipfile(file) or _is_tar(file)


def open_archive(location: str) -> Store:
    """location: name or address of a file. Raises InputError for what is neither."""
    try:
        with _opened(location) as file:
            zipped = zipfile.is_zipfile(file)
        return ZipArchive(location) if zipped else TarArchive(location)
    except PdlmError:
        raise
    # A broken archive makes zipfile raise what it stumbles over, and each client of the net has errors of its own.
    except Exception as error:
        raise InputError(
            f"{location} is no folder, zip or plain tar ({error}); a compressed tar cannot be read in any order: "
            "unpack it"
        ) from error


class ZipArchive:
    def __init__(self, location: str) -> None:
        self.location = location
        # It lets one thread at a time read from its file.
        self._zip = zipfile.ZipFile(remote.open_in_blocks(location) if is_address(location) else location)

    def open(self, name: str) -> BinaryIO:
        member = _found(self._zip.NameToInfo, name, self.location)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _link(name)
        if member.file_size > MAX_MEMBER:
            raise _too_large(name, member.file_size)
        try:
            return io.BytesIO(self._zip.read(member))
        # It may be broken in many ways, encrypted, compressed in a way that Python does not know, or out of reach.
        except Exception as error:
            raise RegionError("bad_image", f"{name!r} cannot be read from {self.location}: {error}") from error

    def names(self) -> Iterator[str]:
        return _safe_names(name for name in self._zip.namelist() if name and not name.endswith("/"))


class TarArchive:
    def __init__(self, location: str) -> None:
        self.location = location
        self._members: dict[str, tuple[int, int]] = {}  # offset and length of the bytes
        self._links: set[str] = set()
        with _opened(location) as file, tarfile.open(fileobj=file, mode="r:") as tar:
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
        try:
            return io.BytesIO(_read(self.location, offset, length))
        except Exception as error:  # each client of the net has its own
            raise RegionError("bad_image", f"{name!r} cannot be read from {self.location}: {error}") from error

    def names(self) -> Iterator[str]:
        return _safe_names(self._members)


def _opened(location: str) -> BinaryIO:
    """For reading in any order."""
    return remote.open_in_blocks(location) if is_address(location) else open(location, "rb")


def _read(location: str, offset: int, length: int) -> bytes:
    if is_address(location):
        return remote.read_range(location, offset, length)
    with open(location, "rb") as file:
        file.seek(offset)
        return file.read(length)


def _is_tar(file: BinaryIO) -> bool:
    file.seek(TAR_MAGIC_AT)
    return file.read(len(TAR_MAGIC)) == TAR_MAGIC


def _found(members: Mapping[str, Member], name: str, location: str) -> Member:
    if is_address(name):
        raise RegionError("outside_root", f"{name!r} is an address, and pictures are read from {location}")
    for spelling in map(name_inside, spellings(name)):
        if spelling in members:
            return members[spelling]
    holds = f", which holds {next(iter(members))!r}" if members else ""  # often all is in a folder in there
    raise RegionError("missing_image", f"no file {name!r} in {location}{holds}; --images names where pictures are")


def _safe_names(names: Iterable[str]) -> Iterator[str]:
    """In order, files of a folder in one run; those that lead out of the archive are left out, as nobody can ask."""
    inside = [name for name in names if not name.startswith(("/", "../")) and "/../" not in name]
    yield from sorted(inside, key=lambda name: (name.rpartition("/")[0], name))


def _link(name: str) -> RegionError:
    return RegionError("outside_root", f"{name!r} is a link inside an archive, which is not followed")


def _too_large(name: str, size: int) -> RegionError:
    return RegionError("bad_image", f"{name!r} has {size >> 20} MiB; files in archives may have {MAX_MEMBER >> 20}")
