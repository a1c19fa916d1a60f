"""Masks from untrusted input: run lengths and polygons to pixels, or a clean RegionError.

pycocotools decodes run lengths without checking them (a dangling byte corrupts its heap), so they are decoded
here. It still draws the polygons, whose pixels are its convention, after their coordinates are checked.

COCO run lengths walk down the columns, left column first, and alternate outside, inside, outside, ...

A mask is written in one of these ways, the first two by COCO, the others by readers of other formats:
[[x0, y0, x1, y1, ...], ...]                 polygons in pixels, merged
{"size": [height, width], "counts": ...}     run lengths, as text or as a list
{"box": [left, top, width, height]}          in pixels
{"whole": true}                              the whole picture
{"file": name}, {"file": name, "id": value}  a mask picture, or one value in it (see mask_files.py)
{"unreadable": reason}                       the reader found out already
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pdlm_cli.errors import RegionError

# pycocotools counts in 32-bit units of a fifth of a pixel and holds every such step of the outline in memory.
MAX_COORDINATE = 1_000_000.0
MAX_OUTLINE = 2_000_000.0
MAX_POLYGONS = 10_000
STRIPE = 64  # pixels across that are turned at once: what the cache holds, three times as fast as the whole
MAX_COUNTS = 4_000_000  # characters of a text, numbers of a list: a noisy mask of eight million pixels
WITHOUT_SIZE = ("box", "whole", "file", "unreadable")
KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Mask:
    """One non-empty mask, eight pixels a byte so that an image may have hundreds.

    area: pixels inside. bbox_xywh: the smallest box, in pixels: left, top, width, height.
    digest: hex sha256 of size and pixels, the same however the mask was written.
    """

    packed: NDArray[np.uint8]
    width: int
    height: int
    area: int
    bbox_xywh: tuple[int, int, int, int]
    digest: str

    def pixels(self) -> NDArray[np.bool_]:
        """(height, width), True inside."""
        bits = np.unpackbits(self.packed, count=self.width * self.height)
        return bits.reshape(self.height, self.width).view(np.bool_)


def pack(pixels: NDArray[np.bool_]) -> Mask:
    """Measure and pack a mask (height, width). Raises RegionError empty_mask if no pixel is inside."""
    height, width = pixels.shape
    columns, rows = np.flatnonzero(pixels.any(axis=0)), np.flatnonzero(pixels.any(axis=1))
    if not columns.size:
        raise RegionError("empty_mask", "no pixel is inside the mask; leave the region out of the input")
    left, top = int(columns[0]), int(rows[0])
    packed = np.packbits(pixels)
    return Mask(
        packed=packed,
        width=width,
        height=height,
        area=int(np.count_nonzero(pixels)),
        bbox_xywh=(left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1),
        digest=hashlib.sha256(f"{width}x{height}:".encode() + packed.tobytes()).hexdigest(),
    )


def stated_size(segmentation: Any) -> tuple[int, int] | None:
    """(width, height) that a run-length mask states, None for masks that state none (all others).

    Read before decoding, so that a forged size never decides how much memory is taken. Raises RegionError
    bad_mask if the size is missing or no size.
    """
    if not isinstance(segmentation, dict) or any(form in segmentation for form in WITHOUT_SIZE):
        return None
    size = segmentation.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and n > 0 for n in size):
        raise _bad("run lengths need 'size': [height, width], two whole numbers above 0")
    height, width = size
    return width, height


def decode_on(segmentation: Any, size: tuple[int, int], drawn_on: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Pixels (height, width) of a mask on a picture of `size` (width, height); may be empty.

    A mask belongs to the size it states itself, or else to `drawn_on` (width, height), the picture's own if None.
    Raises RegionError size_mismatch, bad_mask.
    """
    stated = stated_size(segmentation)
    belongs = stated or drawn_on or size
    if belongs != size:
        order = ". Run lengths state [height, width]" if stated == size[::-1] else ""
        raise RegionError(
            "size_mismatch",
            f"the mask belongs to a picture of {belongs[0]}x{belongs[1]} pixels, this one has "
            f"{size[0]}x{size[1]}; use the picture that was annotated{order}",
        )
    return decode(segmentation, *size)


def decode(segmentation: Any, width: int, height: int) -> NDArray[np.bool_]:
    """Pixels (height, width) of a mask drawn on a picture of that size; may be empty.

    segmentation: any of the forms above but a mask picture. A size it states must have been compared with the
    picture's (see stated_size). Raises RegionError bad_mask.
    """
    if isinstance(segmentation, list):
        return _draw_polygons(segmentation, width, height)
    if not isinstance(segmentation, dict):
        raise _bad(f"expected polygons or run lengths, found {_kind(segmentation)}")
    if "box" in segmentation:
        return _draw_polygons([_corners(segmentation["box"])], width, height)
    if segmentation.get("whole") is True:
        return np.ones((height, width), dtype=bool)
    if "unreadable" in segmentation:
        raise _bad(str(segmentation["unreadable"]))
    if stated_size(segmentation) is None:
        raise _bad("the mask lies in a file of its own, which is not read here")
    assert stated_size(segmentation) == (width, height)
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        return _expand(_read_compressed(counts), width, height)
    if isinstance(counts, list):
        if len(counts) > MAX_COUNTS:
            raise _too_long(len(counts))
        if not all(type(count) is int and 0 <= count <= width * height for count in counts):
            raise _bad("'counts' must hold whole numbers from 0 to the number of pixels")
        return _expand(np.array(counts, dtype=np.int64), width, height)
    raise _bad(f"'counts' must be a text or a list of whole numbers, found {_kind(counts)}")


def enclosing(polygons: list[list[float]]) -> list[list[float]]:
    """Those that enclose anything. Outlines traced from pixels come with parts of one or two points."""
    return [polygon for polygon in polygons if len(polygon) >= 6]


def encode(pixels: NDArray[np.bool_]) -> dict[str, Any]:
    """Run lengths of a mask (height, width), as COCO writes them: size and counts, a text."""
    encoded = coco_mask.encode(np.asfortranarray(pixels.view(np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def _read_compressed(text: str) -> NDArray[np.int64]:
    """Run lengths from COCO's text form.

    Each character carries six bits above '0': bit 5 says that the number goes on, the other five are its next
    higher bits, two's complement. From the fourth number on, each is a difference to the one two before.
    """
    if len(text) > MAX_COUNTS:
        raise _too_long(len(text))
    if not text.isascii():
        raise _bad("'counts' holds characters outside ASCII")
    symbols = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - ord("0")
    if not symbols.size:
        raise _bad("'counts' is empty")
    if symbols.min() < 0 or symbols.max() > 63:
        raise _bad("'counts' holds characters that no run length uses")
    ends = np.flatnonzero(symbols & 32 == 0)
    if not ends.size or ends[-1] != symbols.size - 1:
        raise _bad("'counts' stops in the middle of a number")
    starts = np.concatenate(([0], ends[:-1] + 1))
    digits = ends - starts + 1
    if digits.max() > 7:
        raise _bad("'counts' holds a number of more than 35 bits")

    shift = 5 * (np.arange(symbols.size) - np.repeat(starts, digits))
    numbers = np.add.reduceat((symbols & 31) << shift, starts)
    negative = symbols[ends] & 16 != 0
    numbers -= np.where(negative, np.int64(1) << (5 * digits), 0)
    # The differences chain along the odd places and, after the first number, along the even ones.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _expand(counts: NDArray[np.int64], width: int, height: int) -> NDArray[np.bool_]:
    if counts.size and int(counts.min()) < 0:
        raise _bad("'counts' holds a negative run length")
    # Each run is checked before the sum, which could wrap around to the right value otherwise.
    too_long = counts.size and int(counts.max()) > width * height
    if too_long or int(counts.sum()) != width * height:
        raise _bad(f"run lengths do not add up to the {width * height} pixels of {width}x{height}")
    inside = np.arange(counts.size) % 2 == 1
    return _rows_of(np.repeat(inside, counts).reshape(width, height))


def _draw_polygons(polygons: list[Any], width: int, height: int) -> NDArray[np.bool_]:
    if not polygons:
        raise _bad("the list of polygons is empty")
    if len(polygons) > MAX_POLYGONS:
        raise _bad(f"{len(polygons)} polygons make the mask; the limit is {MAX_POLYGONS}: write it as run lengths")
    for polygon in polygons:
        _check_polygon(polygon)
    parts = enclosing(polygons)
    if not parts:
        raise _bad(f"a polygon needs x and y of at least three points, found {len(polygons[0])} numbers")
    drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, height, width)))
    return _rows_of(drawn.T.view(np.bool_))


def _rows_of(columns: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(height, width) in the order of rows, of a mask (width, height) that was written column by column."""
    width, height = columns.shape
    pixels = np.empty((height, width), dtype=np.bool_)
    for start in range(0, width, STRIPE):
        pixels[:, start : start + STRIPE] = columns[start : start + STRIPE].T
    return pixels


def _check_polygon(polygon: Any) -> None:
    if not isinstance(polygon, list):
        raise _bad(f"a polygon must be a list [x0, y0, x1, y1, ...], found {_kind(polygon)}")
    for number in polygon:
        if type(number) not in (int, float):
            raise _bad(f"a polygon must be a list of numbers [x0, y0, x1, y1, ...], found {_kind(number)} in it")
    if len(polygon) % 2:
        raise _bad(f"a polygon needs x and y of each point, found {len(polygon)} numbers")
    if not all(abs(number) <= MAX_COORDINATE for number in polygon):
        raise _bad(f"a polygon may only hold finite pixel coordinates up to {MAX_COORDINATE:.0f}")
    points = list(zip(polygon[::2], polygon[1::2], strict=True))
    outline = math.fsum(math.dist(a, b) for a, b in zip(points, points[1:] + points[:1], strict=True))
    if outline > MAX_OUTLINE:
        raise _bad(f"a polygon's outline is {outline:.0f} pixels long; the limit is {MAX_OUTLINE:.0f}")


def _corners(box: Any) -> list[Any]:
    """The outline of a box, as a polygon."""
    if not isinstance(box, list) or len(box) != 4:
        raise _bad(f"a box must be a list [left, top, width, height], found {_kind(box)}")
    if not all(type(number) in (int, float) and abs(number) <= MAX_COORDINATE for number in box):
        raise _bad(f"a box may only hold finite pixel coordinates up to {MAX_COORDINATE:.0f}")
    left, top, width, height = box
    if width < 0 or height < 0:
        raise _bad("a box must have a width and a height of 0 or more")
    return [left, top, left + width, top, left + width, top + height, left, top + height]


def _kind(value: Any) -> str:
    """What JSON calls a value."""
    return "nothing" if value is None else KINDS[type(value)]


def _too_long(length: int) -> RegionError:
    return _bad(f"'counts' has {length} characters or numbers; the limit is {MAX_COUNTS}")


def _bad(message: str) -> RegionError:
    return RegionError("bad_mask", message)
