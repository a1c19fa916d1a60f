"""Files at s3://, gs:// and hf:// addresses, through fsspec and the client of each."""

import io
import posixpath
from collections.abc import Iterator
from typing import Any, BinaryIO

from pdlm_cli.errors import ConfigError, InputError, RegionError
from pdlm_cli.images import spellings
from pdlm_cli.stores import ADDRESS, is_address, name_inside

MAX_FILE = 256 << 20  # bytes of a picture file, which is held in memory whole
BLOCK, BLOCKS = 1 << 20, 16  # bytes that are asked for at a time of a file read in any order; how many are kept
# By scheme: the package of its client, and what to install for it.
CLIENTS = {
    "s3": ("s3fs", "'pdlm[remote]'"),
    "gs": ("gcsfs", "gcsfs"),
    "hf": ("huggingface_hub", "huggingface_hub"),
}


class RemoteStore:
    def __init__(self, location: str, *, allow_outside: bool) -> None:
        self.location = location.rstrip("/")
        self._files, self._root = filesystem(self.location)
        self._allow_outside = allow_outside

    def open(self, name: str) -> BinaryIO:
        if is_address(name):
            if not name.startswith(self.location + "/"):
                return read_address(name) if self._allow_outside else _refused(name, self.location)
            name = name[len(self.location) + 1 :]
        # A store of objects has no links, and `..` would be a letter of a name; what lies outside is not asked for.
        for spelling in map(name_inside, spellings(name)):
            try:
                return _read(self._files, f"{self._root}/{spelling}", name)
            except FileNotFoundError:
                continue
        raise RegionError("missing_image", f"no file {name!r} in {self.location}; --images names where pictures are")

    def names(self) -> Iterator[str]:
        found = [posixpath.relpath(path, self._root) for path in self._files.find(self._root)]
        yield from sorted(found, key=lambda name: (name.rpartition("/")[0], name))


def read_address(address: str) -> BinaryIO:
    """A picture file by its address. Raises RegionError."""
    try:
        files, path = filesystem(address)
        return _read(files, path, address)
    except (FileNotFoundError, InputError) as error:
        raise RegionError("missing_image", f"no file {address!r}: {error}") from error


def open_input(address: str) -> BinaryIO:
    """An annotation file, read as it is needed. Raises InputError."""
    files, path = filesystem(address)
    try:
        opened: BinaryIO = files.open(path, "rb")
        return opened
    except Exception as error:
        raise InputError(f"cannot read {address}: {error}") from error


def open_in_blocks(address: str) -> BinaryIO:
    """A file to read in any order, of which the blocks used last are kept. Raises InputError."""
    files, path = filesystem(address)
    try:
        opened: BinaryIO = files.open(
            path, "rb", block_size=BLOCK, cache_type="blockcache", cache_options={"maxblocks": BLOCKS}
        )
        return opened
    except Exception as error:
        raise InputError(f"cannot read {address}: {error}") from error


def read_range(address: str, offset: int, length: int) -> bytes:
    """Bytes of a file, by one request. Threads may ask at once. Raises what the client does."""
    files, path = filesystem(address)
    data: bytes = files.cat_file(path, start=offset, end=offset + length)
    return data


def is_folder(address: str) -> bool:
    """Whether files are below an address, rather than one at it. Raises InputError where there is neither."""
    files, path = filesystem(address)
    try:
        return bool(files.info(path)["type"] == "directory")
    except FileNotFoundError as error:
        raise InputError(f"cannot read {address}: no file is there, nor any below it") from error
    except PermissionError:
        return True  # one may be allowed to read the files below and not to list them
    except Exception as error:
        raise InputError(f"cannot read {address}: {error}") from error


def filesystem(address: str) -> tuple[Any, str]:
    """The client for an address, and the path in it. Raises InputError, and ConfigError if its package is missing."""
    scheme = ADDRESS.match(address)
    if scheme is None or scheme[1] not in CLIENTS:
        raise InputError(f"{address!r}: expected an address that starts with {', '.join(f'{s}://' for s in CLIENTS)}")
    try:
        import fsspec

        files, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        package, wanted = CLIENTS[scheme[1]]
        raise ConfigError(
            f"{scheme[1]}:// needs the package {package} ({error}); install it with: pip install {wanted}"
        ) from error
    return files, str(path)


def _read(files: Any, path: str, name: str) -> BinaryIO:
    """Raises FileNotFoundError, and RegionError for whatever else goes wrong on the way."""
    try:
        data: bytes = files.cat_file(path, start=0, end=MAX_FILE + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except Exception as error:  # each client has its own
        raise RegionError("bad_image", f"{name!r} cannot be read: {error}") from error
    if len(data) > MAX_FILE:
        raise RegionError("bad_image", f"{name!r} has more than the {MAX_FILE >> 20} MiB a picture file may have")
    return io.BytesIO(data)


def _refused(name: str, location: str) -> BinaryIO:
    raise RegionError("outside_root", f"{name!r} lies outside {location}; pass --allow-outside if the input is trusted")
