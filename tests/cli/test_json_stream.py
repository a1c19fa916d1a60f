"""The stream reads what strict_json reads, and refuses what it refuses, with the same words."""

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdlm_cli import json_stream, strict_json
from pdlm_cli.json_stream import JsonStream

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])


class Drops(io.BytesIO):
    """A file that gives a few bytes at a time, so that every value is cut somewhere."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self.size, self.first = size, True

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        self.first, first = False, self.first
        return super().read(4 if first else min(size, self.size))


def whole(data: bytes, size: int = 7) -> Any:
    """The value of a file, put together from its items."""
    result: Any = {}
    for key, index, value in JsonStream(Drops(data, size)).items():
        if key is None and index is None:
            result = value
        elif index is None:
            result[key] = value
        elif key is None:
            result = [*(result or []), value]
        else:
            result.setdefault(key, []).append(value)
    return result


@given(VALUES, ENCODINGS, st.integers(1, 50), st.sampled_from([None, 1]))
def test_items_put_together_are_the_file(value: Any, encoding: str, size: int, indent: int | None) -> None:
    data = json.dumps(value, ensure_ascii=False, indent=indent).encode(encoding, "surrogatepass")
    try:
        expected = strict_json.loads(data)
    except ValueError:
        with pytest.raises(ValueError, match="not valid JSON"):
            whole(data, size)
        return
    assert whole(data, size) == expected


@given(VALUES, st.integers(0, 200), st.sampled_from([b"", b"x", b",", b"]", b'"', b"NaN", b"\n"]), st.integers(1, 50))
def test_damaged_files_are_refused_as_well(value: Any, at: int, damage: bytes, size: int) -> None:
    data = json.dumps({"a": [value, value], "b": value}, indent=1).encode()
    data = data[:at] + damage + data[at + len(damage) + 1 :]
    try:
        expected = strict_json.loads(data)
    except ValueError:
        with pytest.raises(ValueError, match=r"not valid JSON|not a JSON number|repeated keys"):
            whole(data, size)
    else:
        assert whole(data, size) == expected


REFUSED = {
    "repeated key outside": (b'{"a": 1, "b": [], "a": 2}', "repeated keys in one JSON object: 'a'"),
    "repeated key inside": (b'{"a": [{"x": 1, "x": 2}]}', "repeated keys in one JSON object: 'x'"),
    "NaN": (b'{"a": [1, NaN]}', "NaN is not a JSON number"),
    "infinity": (b"-Infinity", "-Infinity is not a JSON number"),
    "depth of 5,000": (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    "comma at the end": (b'{"a": [1, ]}', "line 1, column 11"),
    "something after the end": (b'{"a": [1]}\n[', "line 2, column 1: Extra data"),
    "lines": (
        b'{"a": [1]}\n{"a": [1]}\n',
        "another value begins at line 2; expected one JSON value, not JSON Lines: make",
    ),
    "cut number": (b'{"a": -', "line 1, column 7"),
    "no colon": (b'{"a" 1}', "line 1, column 6: Expecting ':' delimiter"),
    "no comma": (b"[1\n 2]", "line 2, column 2: Expecting ',' delimiter"),
    "Latin-1": (b'{"a": ["\xe9"]}', "near byte 8; save it as UTF-8"),
    "nothing": (b"", "the file is empty"),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.fault("duplicate ids or keys, NaN, depth 5,000")
def test_what_is_refused_is_named(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        whole(data)


@pytest.mark.parametrize("size", [7, 1000, 1 << 20])
def test_a_number_too_long_for_python_is_refused_with_its_place(size: int) -> None:
    data = b'{"a": ["' + b"9" * 5000 + b'", 2],\n "b": [1.5, -' + b"9" * 5000 + b"]}"
    for read in (lambda: whole(data, size), lambda: strict_json.loads(data)):
        with pytest.raises(
            ValueError, match=r"^the number at line 2, column 13 has 5,000 digits, expected at most 4,300"
        ):
            read()
    assert whole(b"[" + b"9" * 5000 + b".5e-4990]", size) == [pytest.approx(1e10)]


def test_half_a_surrogate_stays_what_it_is() -> None:
    assert whole(rb'["a\ud800"]') == ["a\ud800"]


def test_the_hash_is_that_of_the_file() -> None:
    data = json.dumps({"a": list(range(1000))}).encode() + b"\n\n"
    stream = JsonStream(Drops(data, 100))
    assert sum(1 for _ in stream.items()) == 1000
    assert stream.sha256.hexdigest() == hashlib.sha256(data).hexdigest()


def test_an_item_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_ITEM", 1 << 20)
    data = b'{"a": [\n1, "' + b"x" * (4 << 20)
    with pytest.raises(ValueError, match="line 2 is longer than 1 million characters"):
        whole(data, 1 << 18)
