"""What lies behind the objects: pale or muted, so that no part of an object looks the same."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.float32]


def background(rng: np.random.Generator, style: str, width: int, height: int) -> Picture:
    """(3, height, width) float32, 0 to 1. style: a key of BACKGROUNDS."""
    return BACKGROUNDS[style](rng, width, height)


def _tint(rng: np.random.Generator, low: float = 0.62, high: float = 0.9) -> Picture:
    """A muted color (3, 1, 1)."""
    gray = rng.uniform(low, high)
    return (gray + rng.uniform(-0.08, 0.08, (3, 1, 1))).astype(np.float32)


def _plain(rng: np.random.Generator, width: int, height: int) -> Picture:
    return np.tile(_tint(rng), (1, height, width))


def _gradient(rng: np.random.Generator, width: int, height: int) -> Picture:
    """From one color to another in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(np.cos(angle))
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    return _between(_tint(rng), _tint(rng), across + down + np.float32(0.5))


def _clouds(rng: np.random.Generator, width: int, height: int) -> Picture:
    cells = int(rng.integers(4, 9))
    return _between(_tint(rng), _tint(rng), _noise(rng, width, height, cells))


def _grass(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Streaks upwards, over large patches."""
    streaks = _noise(rng, width, height, 48, 12)
    tint = _tint(rng, 0.55, 0.8) * _color(0.92, 1.06, 0.86)
    return _between(tint * np.float32(0.84), tint, streaks * 0.6 + _noise(rng, width, height, 3) * 0.4)


def _tiles(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Squares with thin joints, each a little lighter or darker."""
    side = max(6, round(min(width, height) / int(rng.integers(4, 9))))
    x, y = np.arange(width) // side, np.arange(height) // side
    shade = rng.uniform(-0.04, 0.04, (int(y[-1]) + 1, int(x[-1]) + 1)).astype(np.float32)[y[:, None], x]
    joint = (np.arange(width) % side == 0) | (np.arange(height) % side == 0)[:, None]
    return _tint(rng) + (shade - joint * np.float32(0.1))


def _planks(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Boards across, with grain."""
    side = max(6, round(height / int(rng.integers(4, 9))))
    y = np.arange(height) // side
    shade = rng.uniform(-0.05, 0.05, int(y[-1]) + 1).astype(np.float32)[y]
    shade -= (np.arange(height) % side == 0) * np.float32(0.12)
    tint = _tint(rng) * _color(1.05, 0.98, 0.88)
    grain = _noise(rng, width, height, 4, 40) * np.float32(0.1) - np.float32(0.05)
    return tint + (grain + shade[:, None])


def _horizon(rng: np.random.Generator, width: int, height: int) -> Picture:
    """A bright sky over ground."""
    line = round(height * rng.uniform(0.3, 0.65))
    sky = _tint(rng, 0.75, 0.9) * _color(0.95, 1.0, 1.08)
    fade = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    picture = _between(sky, sky + np.float32(0.08), np.broadcast_to(fade, (height, width)))
    picture[:, line:] = (_grass if rng.random() < 0.5 else _clouds)(rng, width, height - line) * np.float32(0.92)
    return picture


def _between(first: Picture, second: Picture, share: NDArray[np.float32]) -> Picture:
    """Colors (3, 1, 1) mixed by a share (height, width), 0 for the first."""
    mixed: Picture = first + share * (second - first)
    return mixed


def _color(red: float, green: float, blue: float) -> Picture:
    return np.array([red, green, blue], dtype=np.float32).reshape(3, 1, 1)


def _noise(rng: np.random.Generator, width: int, height: int, across: int, down: int | None = None) -> Picture:
    """(height, width), 0 to 1, smooth over so many cells."""
    cells = rng.integers(0, 256, (down or across, across), np.uint8)
    noise = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    noise *= np.float32(1 / 255)
    return noise


BACKGROUNDS: Mapping[str, Callable[[np.random.Generator, int, int], Picture]] = {
    "plain": _plain,
    "gradient": _gradient,
    "clouds": _clouds,
    "grass": _grass,
    "tiles": _tiles,
    "planks": _planks,
    "horizon": _horizon,
}
