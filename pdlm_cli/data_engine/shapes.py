"""Outlines from simple figures. Every function returns points (n, 2): x to the right, y down, closed by itself."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_ANGLES = np.linspace(0, 2 * np.pi, 36, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def polygon(*corners: tuple[float, float]) -> Points:
    return np.array(corners, dtype=np.float64)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def ellipse(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> Points:
    """turn: degrees clockwise."""
    return rotate(_CIRCLE * (rx, rx if ry is None else ry), turn) + (x, y)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Points:
    """A slice of an ellipse cut off by its chord; degrees clockwise from the right."""
    angles = np.radians(np.linspace(start, end, 24))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def rounded(left: float, top: float, right: float, bottom: float, radius: float) -> Points:
    corners = [
        (right - radius, bottom - radius, 0),
        (left + radius, bottom - radius, 90),
        (left + radius, top + radius, 180),
        (right - radius, top + radius, 270),
    ]
    return np.concatenate([arc(x, y, radius, radius, start, start + 90)[::4] for x, y, start in corners])


def smooth(*corners: tuple[float, float]) -> Points:
    """A closed curve through the corners (Catmull-Rom)."""
    p1 = polygon(*corners)
    p0, p2, p3 = np.roll(p1, 1, axis=0), np.roll(p1, -1, axis=0), np.roll(p1, -2, axis=0)
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    curve = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
    ]
    return np.concatenate(curve)


def stroke(*corners: tuple[float, float], width: float) -> Points:
    """A line along the corners, `width` thick."""
    line = polygon(*corners)
    along = np.gradient(line, axis=0)
    normal = along[:, ::-1] * (-1, 1) / np.linalg.norm(along, axis=1, keepdims=True) * (width / 2)
    return np.concatenate([line + normal, (line - normal)[::-1]])


def curve(x: float, y: float, rx: float, ry: float, start: float, end: float, width: float) -> Points:
    """A stroke along a part of an ellipse; degrees clockwise from the right."""
    middle = arc(x, y, rx, ry, start, end)
    return stroke(*((float(px), float(py)) for px, py in middle), width=width)


def star(x: float, y: float, outer: float, inner: float, points: int) -> Points:
    angles = np.pi * np.arange(2 * points) / points - np.pi / 2
    radius = np.where(np.arange(2 * points) % 2 == 0, outer, inner)
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def rotate(points: Points, degrees: float) -> Points:
    """Clockwise about the origin."""
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def mirror(points: Points) -> Points:
    """Left and right exchanged about x = 0."""
    return points * (-1, 1)
