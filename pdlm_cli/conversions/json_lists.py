"""JSON of any length, an item at a time."""

import json
from collections.abc import Iterable
from typing import Any, BinaryIO


def write_items(file: BinaryIO, items: Iterable[dict[str, Any]]) -> None:
    """The items of a list, a line each; its brackets are the caller's."""
    for i, item in enumerate(items):
        file.write((",\n" if i else "\n").encode() + json.dumps(item).encode())


def write_list(file: BinaryIO, items: Iterable[dict[str, Any]]) -> None:
    """A file that is one list."""
    file.write(b"[")
    write_items(file, items)
    file.write(b"]\n")
