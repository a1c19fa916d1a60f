"""Patterns and materials: for every point of a surface, which of its shades it shows.

x, y: coordinates on the surface in units of the pattern's period, broadcast against one another, float32.
Results: uint8 of their common shape, values GROUND to DARK.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdlm_cli.data_engine.attributes import MATERIALS, PATTERNS

Coordinate = NDArray[np.floating[Any]]  # float32
Shades = NDArray[np.uint8]
Texture = Callable[[Coordinate, Coordinate], Shades]

GROUND, SECOND, LIGHT, DARK = range(4)


def _striped(x: Coordinate, y: Coordinate) -> Shades:
    return _parity(_floor(x + 0 * y))


def _checked(x: Coordinate, y: Coordinate) -> Shades:
    return _parity(_floor(x) + _floor(y))


def _zigzag(x: Coordinate, y: Coordinate) -> Shades:
    return _parity(_floor(y + np.abs(_fraction(x / 2) * 2 - 1)))


def _dotted(x: Coordinate, y: Coordinate) -> Shades:
    row = _floor(y / 2)
    across = _fraction((x + row) / 2) - 0.5
    down = y / 2 - row - 0.5
    return (across * across + down * down < 0.3**2).view(np.uint8) * np.uint8(SECOND)


def _wooden(x: Coordinate, y: Coordinate) -> Shades:
    """Wavy grain along x."""
    wave = y * np.float32(0.8) + np.float32(0.22) * np.sin(x * np.float32(0.9))
    return (_fraction(wave) < 0.3).view(np.uint8) * np.uint8(DARK)


def _brick(x: Coordinate, y: Coordinate) -> Shades:
    row = _floor(y)
    mortar = (y - row < 0.24) | (_fraction(x / 2 + row / 2) < 0.12)
    return mortar.view(np.uint8) * np.uint8(LIGHT)


def _metal(x: Coordinate, y: Coordinate) -> Shades:
    """A slanting glare, a broad band and a thin one."""
    across = _fraction((x + y * np.float32(0.7)) / 9 + np.float32(0.5))
    glare = (np.abs(across - np.float32(0.45)) < 0.08) | (np.abs(across - np.float32(0.62)) < 0.035)
    return glare.view(np.uint8) * np.uint8(LIGHT)


def _woven(x: Coordinate, y: Coordinate) -> Shades:
    over = _parity(_floor(x) + _floor(y)).view(np.bool_)
    gap = np.where(over, _fraction(x), _fraction(y)) < 0.34
    return gap.view(np.uint8) * np.uint8(DARK)


# Periods are chosen so that one of these shows within a surface of a few periods (see draw.py).
TEXTURES: Mapping[str, Texture] = {
    "striped": _striped,
    "checked": _checked,
    "zigzag": _zigzag,
    "dotted": _dotted,
    "wooden": _wooden,
    "brick": _brick,
    "metal": _metal,
    "woven": _woven,
}
assert TEXTURES.keys() == {*PATTERNS, *MATERIALS}


def _floor(values: Coordinate) -> Coordinate:
    return np.floor(values)


def _fraction(values: Coordinate) -> Coordinate:
    """values % 1; numpy's own is forty times slower."""
    return values - np.floor(values)


def _parity(whole: Coordinate) -> Shades:
    """1 where the whole number is odd."""
    return (whole.astype(np.int32) & 1).astype(np.uint8)
