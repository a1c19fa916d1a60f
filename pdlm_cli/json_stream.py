"""A JSON file of any size, item by item in bounded memory, as strict as strict_json.

The items are those of the lists one level down, or of the one list that the file is: what annotation files consist of.
Each is parsed whole by the standard library, so that what it refuses and what it says is the same for small files and
for large ones.
"""

import codecs
import hashlib
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from pdlm_cli import strict_json

CHUNK = 1 << 20  # bytes read at a time
MAX_ITEM = 64 << 20  # characters of one item
SPACE = " \t\n\r"


class Item(NamedTuple):
    """A value of the file. key: the one it lies under, None where the file is no object. at: its place in the list
    under that key, None for what is no list, and for an empty one."""

    key: str | None
    at: int | None
    value: Any


class JsonStream:
    """One walk over a file. sha256: of the bytes read so far, of the file once `items` has come to its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        data = self._read(CHUNK)
        self._decoder = codecs.getincrementaldecoder(json.detect_encoding(data))()
        self._text, self._at, self._at_end = "", 0, False
        self._lines, self._column = 0, 0  # before the text held: line ends, characters after the last of them
        self._bytes = 0
        self._decode(data)

    def items(self) -> Iterator[Item]:
        """Every item, in file order. Raises ValueError with the place or the name at fault."""
        first = self._next_symbol()
        if not first:
            raise ValueError("the file is empty")
        if first == "{":
            yield from self._object()
        elif first == "[":
            yield from self._values(None)
        else:
            yield Item(None, None, self._value())
        after = self._next_symbol()
        if first == after == "{":
            raise ValueError(
                f"another value begins at line {self._line(self._at)}; expected one JSON value, not JSON Lines: make a "
                "list of the lines, as `jq --slurp . lines.jsonl > list.json` does"
            )
        if after:
            raise self._error("Extra data", self._at)

    def _object(self) -> Iterator[Item]:
        self._at += 1
        seen: set[str] = set()
        if self._next_symbol() == "}":
            self._at += 1
            return
        while True:
            if self._next_symbol() != '"':
                raise self._error("Expecting property name enclosed in double quotes", self._at)
            key = self._value()
            if key in seen:
                raise strict_json.repeated_keys([key])
            seen.add(key)
            self._expect(":")
            if self._next_symbol() == "[":
                yield from self._values(key)
            else:
                yield Item(key, None, self._value())
            if self._next_symbol() == "}":
                self._at += 1
                return
            self._expect(",")

    def _values(self, key: str | None) -> Iterator[Item]:
        self._at += 1
        if self._next_symbol() == "]":
            self._at += 1
            yield Item(key, None, [])
            return
        index = 0
        while True:
            self._next_symbol()
            yield Item(key, index, self._value())
            index += 1
            if self._next_symbol() == "]":
                self._at += 1
                return
            self._expect(",")

    def _value(self) -> Any:
        """The value that starts here, parsed again with more of the file until it is whole."""
        while True:
            try:
                value, end = strict_json.DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                raise self._error(error.msg, error.pos) from None
            except RecursionError:
                raise strict_json.too_deep() from None
            except strict_json.Refused:
                raise
            except ValueError:
                number = strict_json.long_number(self._text, self._at)
                if number.end() > len(self._text) - 3 and self._more():  # it may go on, see below
                    continue
                at = number.start()
                raise strict_json.too_long(number, self._line(at), self._column_of(at)) from None
            # A number at the end of what was read may go on, and does so after "1." or "1e-".
            if end > len(self._text) - 3 and self._text[end - 1] not in '}]"' and self._more():
                continue
            self._at = end
            return value

    def _next_symbol(self) -> str:
        """The next character that is not space, not consumed; nothing at the end of the file."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _expect(self, symbol: str) -> None:
        if self._next_symbol() != symbol:
            raise self._error(f"Expecting '{symbol}' delimiter", self._at)
        self._at += 1

    def _more(self) -> bool:
        """Let go of what was consumed and read on, twice as much as is waiting; False at the end of the file."""
        if self._at_end:
            return False
        waiting = len(self._text) - self._at
        if waiting > MAX_ITEM:
            raise ValueError(
                f"the item at line {self._line(self._at)} is longer than {MAX_ITEM >> 20} million characters, or not "
                "valid JSON; keep pictures in files of their own"
            )
        consumed = self._text[: self._at]
        ends = consumed.count("\n")
        self._column = self._at - 1 - consumed.rfind("\n") if ends else self._column + self._at
        self._lines += ends
        self._text, self._at = self._text[self._at :], 0
        self._decode(self._read(max(CHUNK, waiting)))
        return True

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data

    def _decode(self, data: bytes) -> None:
        self._at_end = not data
        try:
            self._text += self._decoder.decode(data, final=self._at_end)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"not valid JSON: {error.reason} near byte {self._bytes + error.start}; save it as UTF-8"
            ) from None
        self._bytes += len(data)

    def _line(self, at: int) -> int:
        return self._lines + self._text.count("\n", 0, at) + 1

    def _column_of(self, at: int) -> int:
        last = self._text.rfind("\n", 0, at)
        return at - last if last >= 0 else self._column + at + 1

    def _error(self, message: str, at: int) -> ValueError:
        return ValueError(f"not valid JSON at line {self._line(at)}, column {self._column_of(at)}: {message}")
