"""Masks as compact SVG paths, their outlines traced and simplified."""

from collections.abc import Sequence
from dataclasses import dataclass

import contourpy
import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID = 1000  # units of a path along the longer side of a picture
DETAIL = 160  # pixels along the longer side of a mask that its outline is traced on
TOLERANCE = 0.9  # grid units that a simplified outline may stray: half a pixel of a thumbnail

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Outline:
    """A mask in grid units of its picture. path: `d` of an SVG path, for the rule evenodd. pin: (x, y) of its topmost
    place, where a number can stand."""

    path: str
    pin: tuple[int, int]


def grid_of(width: int, height: int) -> tuple[int, int]:
    """(width, height) of a picture in grid units."""
    scale = GRID / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def trace(mask: NDArray[np.bool_]) -> Outline:
    """mask: (height, width), not empty."""
    scale = GRID / max(mask.shape)
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    left, top = int(columns[0]), int(rows[0])
    crop = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    gray = _shrink(crop)
    pixel = crop.shape[1] / gray.shape[1], crop.shape[0] / gray.shape[0]  # of `gray`, in pixels of the picture
    lines = [(line * pixel + (left, top)) * scale for line in _level_lines(gray)]
    pin = (left + float(np.flatnonzero(crop[0]).mean()) + 0.5) * scale, top * scale
    return Outline("".join(map(_path, map(simplify, lines))), (round(pin[0]), round(pin[1])))


def box(xywh: Sequence[float], picture: tuple[int, int]) -> Outline:
    """A box in pixels of a picture of that size (width, height)."""
    x, y, width, height = xywh
    scale = GRID / max(picture)
    corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)]) * scale
    return Outline(_path(corners), (round((x + width / 2) * scale), round(y * scale)))


def _shrink(crop: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """At most DETAIL pixels along the longer side: the share of each that lies in the mask, 0 to 255."""
    gray = crop.astype(np.uint8) * 255
    height, width = crop.shape
    step = max(crop.shape) / DETAIL
    if step <= 1:
        return gray
    size = max(1, round(width / step)), max(1, round(height / step))
    return np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX))


def _level_lines(gray: NDArray[np.uint8]) -> list[Points]:
    """Closed lines (N, 2) of x and y around what is more than half inside, in pixels from the upper left corner."""
    framed = np.pad(gray, 1).astype(np.float64)
    for level in (127.5, 0.5):  # what is thinner than a pixel is half inside nowhere: then all it touches
        lines = contourpy.contour_generator(z=framed).lines(level)
        if lines:
            break
    # The generator counts from the middle of the first pixel, which is the frame's.
    return [np.asarray(line, dtype=np.float64) - 0.5 for line in lines]


def simplify(points: Points) -> Points:
    """Ramer-Douglas-Peucker: of a line (N, 2) the points without which it would stray more than TOLERANCE."""
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        start, inner = points[first], points[first + 1 : last] - points[first]
        along = points[last] - start
        length = float(np.hypot(*along))
        if length:  # a closed line starts where it ends
            distance = np.abs(inner[:, 0] * along[1] - inner[:, 1] * along[0]) / length
        else:
            distance = np.hypot(inner[:, 0], inner[:, 1])
        farthest = int(distance.argmax())
        if distance[farthest] > TOLERANCE:
            middle = first + 1 + farthest
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return points[keep]


def _path(points: Points) -> str:
    """Whole numbers, each relative to the one before; at least a point wide, so that a speck has a line too."""
    grid = np.rint(points).astype(int)
    grid = np.concatenate([grid[:1], grid[1:][np.any(np.diff(grid, axis=0) != 0, axis=1)]])
    if len(grid) > 1 and (grid[0] == grid[-1]).all():
        grid = grid[:-1]
    if len(grid) < 3:
        x, y = grid[0]
        return f"M{x} {y}h1v1h-1z"
    steps = "".join(f"{dx} {dy} " if dy >= 0 else f"{dx}{dy} " for dx, dy in np.diff(grid, axis=0))
    return f"M{grid[0][0]} {grid[0][1]}l{steps.rstrip().replace(' -', '-')}z"
