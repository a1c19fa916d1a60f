import random
import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from pdlm_cli.errors import RegionError
from pdlm_cli.masks import decode, decode_on, enclosing, encode, pack, stated_size
from tests.cli.support import box_mask, rle

SIDES = st.integers(1, 40)
MASKS = hnp.arrays(bool, st.tuples(SIDES, SIDES), elements=st.booleans())
POINTS = st.tuples(st.floats(-5, 45), st.floats(-5, 35))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner),
)
EVERY_MASK = settings(max_examples=200, derandomize=True, deadline=None)


@EVERY_MASK
@given(MASKS)
def test_compressed_run_lengths_decode_as_pycocotools_does(mask: np.ndarray) -> None:
    height, width = mask.shape
    assert np.array_equal(decode(rle(mask), width, height), mask)


@EVERY_MASK
@given(MASKS)
def test_uncompressed_run_lengths_decode_as_pycocotools_does(mask: np.ndarray) -> None:
    height, width = mask.shape
    flat = mask.flatten(order="F")
    starts = np.flatnonzero(np.diff(flat, prepend=not flat[0]))
    counts = np.diff(starts, append=flat.size).tolist()
    segmentation = {"size": [height, width], "counts": [0, *counts] if flat[0] else counts}
    assert np.array_equal(coco_mask.decode(coco_mask.frPyObjects(segmentation, height, width)), mask)
    assert np.array_equal(decode(segmentation, width, height), mask)


@EVERY_MASK
@given(MASKS)
def test_area_box_and_pixels_are_those_of_pycocotools(mask: np.ndarray) -> None:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    if not mask.any():
        with pytest.raises(RegionError, match="no pixel") as caught:
            pack(mask)
        assert caught.value.code == "empty_mask"
        return
    packed = pack(mask)
    assert packed.area == coco_mask.area(encoded)
    assert packed.bbox_xywh == tuple(coco_mask.toBbox(encoded))
    assert np.array_equal(packed.pixels(), mask)


def test_large_run_lengths_decode_as_pycocotools_does() -> None:
    mask = np.random.default_rng(0).random((900, 1200)) < np.linspace(0, 0.3, 1200)
    mask[300:600, 100:1100] = True
    assert np.array_equal(decode(rle(mask), 1200, 900), mask)


@EVERY_MASK
@given(st.lists(st.lists(POINTS, min_size=3, max_size=8), min_size=1, max_size=3))
def test_polygons_are_drawn_as_pycocotools_draws_them(polygons: list[list[tuple[float, float]]]) -> None:
    flat = [[number for point in polygon for number in point] for polygon in polygons]
    drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, 30, 40)))
    assert np.array_equal(decode(flat, 40, 30), drawn)


def test_parts_of_a_polygon_are_merged() -> None:
    parts = [[0, 0, 4, 0, 4, 4, 0, 4], [10, 10, 14, 10, 14, 14, 10, 14]]
    mask = decode(parts, 20, 20)
    assert mask[2, 2]
    assert mask[12, 12]
    assert not mask[7, 7]


def test_parts_that_enclose_nothing_are_passed_over() -> None:
    """Contours traced from pixels have them, and pycocotools takes a first part of four numbers for a box."""
    square = [3, 2, 9, 2, 9, 8, 3, 8]
    parts = [[1, 1, 2, 2], square, [5, 5], []]
    assert np.array_equal(decode(parts, 30, 20), decode([square], 30, 20))
    assert enclosing(parts) == [square]
    with pytest.raises(RegionError, match="at least three points, found 4 numbers"):
        decode(parts[:1], 30, 20)


def test_digest_depends_on_the_pixels_not_on_how_they_are_written() -> None:
    mask = np.zeros((20, 30), bool)
    mask[2:8, 3:9] = True
    polygon = decode([[3, 2, 9, 2, 9, 8, 3, 8]], 30, 20)
    assert pack(decode(rle(mask), 30, 20)).digest == pack(polygon).digest
    assert pack(mask).digest != pack(mask.reshape(30, 20)).digest


def test_boxes_and_whole_pictures_are_drawn() -> None:
    assert np.array_equal(decode({"box": [1, 2, 3, 1]}, 6, 4), box_mask(6, 4, 1, 2, 3, 1))
    assert np.array_equal(decode({"box": [-5, -5, 100, 100]}, 6, 4), np.ones((4, 6), bool))
    assert np.array_equal(decode({"whole": True}, 6, 4), np.ones((4, 6), bool))
    assert not decode({"box": [1, 1, 0, 0]}, 6, 4).any()


@EVERY_MASK
@given(MASKS)
def test_what_is_encoded_decodes_again_here_and_in_pycocotools(mask: np.ndarray) -> None:
    height, width = mask.shape
    assert np.array_equal(decode(encode(mask), width, height), mask)
    assert encode(mask) == rle(mask)


SIZED = {"size": [4, 5]}
BAD = {
    "nothing": None,
    "text": "polygon",
    "number": 7,
    "no polygons": [],
    "flat polygon": [1, 1, 3, 1, 3, 3],
    "box instead of a polygon": [[0, 0, 3, 3]],
    "odd polygon": [[0, 0, 3, 0, 3, 3, 1]],
    "infinite polygon": [[0, 0, float("inf"), 0, 3, 3]],
    "nan polygon": [[0, 0, float("nan"), 0, 3, 3]],
    "far polygon": [[0, 0, 1e12, 0, 3, 3]],
    "huge whole number": [[0, 0, 10**400, 0, 3, 3]],
    "endless polygon": [[0, 0, 1e6, 0, -1e6, 0] * 2],
    "true in a polygon": [[0, 0, True, 0, 3, 3]],
    "text in a polygon": [[0, 0, "3", 0, 3, 3]],
    "no size": {"counts": "d0"},
    "size of text": {"size": ["4", "5"], "counts": "d0"},
    "size of truth": {"size": [True, 5], "counts": [5]},
    "no counts": SIZED,
    "counts of a number": SIZED | {"counts": 20},
    "empty counts": SIZED | {"counts": ""},
    "no runs": SIZED | {"counts": []},
    "dangling number": SIZED | {"counts": "d0P"},
    "short counts": SIZED | {"counts": [3, 4]},
    "long counts": SIZED | {"counts": [3, 40]},
    "negative run": SIZED | {"counts": [-1, 21]},
    "fraction of a run": SIZED | {"counts": [3.0, 17]},
    "truth as a run": SIZED | {"counts": [True, 19]},
    "enormous run": SIZED | {"counts": [2**64, 20]},
    "wrapping runs": SIZED | {"counts": [2**63 - 1, 2**63 - 1, 22]},
    "negative compressed run": SIZED | {"counts": "O0"},
    "too long a number": SIZED | {"counts": "P" * 20 + "0"},
    "characters out of range": SIZED | {"counts": "~~"},
    "characters outside ASCII": SIZED | {"counts": "d0é"},
    "endless counts": SIZED | {"counts": "0" * 4_000_001},
    "endless runs": SIZED | {"counts": [0] * 4_000_001},
    "endless polygons": [[0, 0, 3, 0, 3, 3]] * 10_001,
    "box of text": {"box": "all"},
    "box of three": {"box": [0, 0, 3]},
    "box of nan": {"box": [0, 0, float("nan"), 3]},
    "box inside out": {"box": [3, 3, -2, 2]},
    "not the whole": {"whole": False},
    "mask picture elsewhere": {"file": "mask.png"},
    "unreadable": {"unreadable": "reason"},
}


def decode_or_refuse(segmentation: object, width: int = 5, height: int = 4) -> np.ndarray | None:
    """The mask, or None if it is refused the one way it may be."""
    try:
        size = stated_size(segmentation)
        return decode(segmentation, width, height) if size in (None, (width, height)) else None
    except RegionError as error:
        if error.code != "bad_mask":
            raise
        return None


@pytest.mark.parametrize("segmentation", BAD.values(), ids=BAD.keys())
@pytest.mark.fault("malformed RLE or polygon")
def test_what_is_no_mask_is_refused_cleanly(segmentation: object) -> None:
    assert decode_or_refuse(segmentation) is None


def fuzzed(count: int) -> list[str]:
    """Random texts, and valid run lengths with a character changed, dropped or repeated."""
    chance = random.Random(0)
    alphabet = "".join(chr(code) for code in range(48, 112))
    texts = []
    for i in range(count):
        if i % 2:
            symbols = alphabet if i % 4 == 1 else string.printable
            texts.append("".join(chance.choices(symbols, k=chance.randrange(1, 40))))
        else:
            mask = np.random.default_rng(i).random((16, 24)) < 0.3
            text = rle(mask)["counts"]
            at = chance.randrange(len(text))
            texts.append(text[:at] + chance.choice(["", text[at] * 2, chance.choice(alphabet)]) + text[at + 1 :])
    return texts


@pytest.mark.fault("malformed RLE or polygon")
def test_twenty_thousand_fuzzed_texts_decode_or_are_refused() -> None:
    decoded = 0
    for text in fuzzed(20_000):
        mask = decode_or_refuse({"size": [16, 24], "counts": text}, 24, 16)
        if mask is not None:
            assert np.array_equal(decode(rle(mask), 24, 16), mask)
            decoded += 1
    assert 0 < decoded < 10_000


@EVERY_MASK
@given(JSON)
@pytest.mark.fault("malformed RLE or polygon")
def test_any_json_value_is_a_mask_or_refused(value: object) -> None:
    mask = decode_or_refuse(value)
    assert mask is None or mask.shape == (4, 5)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[[1, 1], [3, 1], [3, 3]]], "a list of numbers .*found a list in it"),
        ([[{"x": 1, "y": 1}] * 3], "a list of numbers .*found an object in it"),
        ([[1, 1, 3, 1]], "at least three points, found 4 numbers"),
        ([1, 1, 3, 1, 3, 3], r"must be a list \[x0, y0, x1, y1, ...\], found a number"),
        (7, "expected polygons or run lengths, found a number"),
        (SIZED, "'counts' must be .*, found nothing"),
        ({"box": None}, "found nothing"),
    ],
)
def test_what_was_found_is_told_in_words_of_json(mask: Any, message: str) -> None:
    with pytest.raises(RegionError, match=message):
        decode(mask, 5, 4)


def test_sides_in_the_wrong_order_are_told_of() -> None:
    mask = rle(box_mask(6, 4, 1, 1, 2, 2))
    with pytest.raises(RegionError, match=r"belongs to a picture of 6x4 pixels.*Run lengths state .height, width"):
        decode_on(mask, (4, 6))
    with pytest.raises(RegionError, match=r"use the picture that was annotated$"):
        decode_on(mask, (5, 5))
