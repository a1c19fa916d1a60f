"""Files of a folder or an archive that say what its regions are."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from pdlm_cli import strict_json
from pdlm_cli.errors import RegionError
from pdlm_cli.json_stream import Item
from pdlm_cli.readers.records import RegionRecord, object_at
from pdlm_cli.regions import FILE_HASH_DIGITS
from pdlm_cli.stores import Store

MAX_FILE = 64 << 20  # bytes of one mask picture or JSON file

Take = Callable[[bytes], object]  # for a hash of everything that decides what the regions are


class Files:
    def __init__(self, store: Store, take: Take) -> None:
        self._store, self._take = store, take
        self.used: set[str] = set()  # names of those that were read, and of mask pictures that JSON names

    def bytes(self, name: str) -> bytes:
        """Raises ValueError."""
        self.used.add(name)
        with self._store.open(name) as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ValueError(f"{name} has more than {MAX_FILE >> 20} MiB")
        self._take(name.encode(errors="surrogateescape") + b"\0" + hashlib.sha256(data).digest())
        return data

    def json(self, name: str) -> Any:
        return strict_json.loads(self.bytes(name))

    def mask(self, name: str) -> dict[str, Any]:
        """A mask picture as a mask: with a hash, so that the region is another one when the picture is."""
        return {"file": name, "sha256": hashlib.sha256(self.bytes(name)).hexdigest()[:FILE_HASH_DIGITS]}


def unreadable(image_id: str, name: str, error: ValueError) -> RegionRecord:
    """A region in place of what a file would have said, so that its picture is told of."""
    reason = str(error) if isinstance(error, RegionError) else f"{name}: {error}"
    return RegionRecord(image_id, "unreadable", {"unreadable": reason})


def items_of(value: Any) -> Iterator[Item]:
    """What a JSON file holds as a stream of its items."""
    for key, found in object_at(value, "the file").items():
        if isinstance(found, list) and found:
            yield from (Item(key, i, item) for i, item in enumerate(found))
        else:
            yield Item(key, None, found)


def folder_of(name: str) -> str:
    """With its slash; nothing at the top."""
    return name[: name.rfind("/") + 1]
