"""The bicubic resize of Pillow: whole for pictures, only at sampled pixels for masks.

Pillow filters along one axis into 8 bits, then along the other. Which comes first changed with Pillow 13 and moves
results by a gray level; the order is therefore chosen here, so that every version of Pillow gives the same pixels.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OUTSIDE = 255  # the value of a mask picture outside its region; inside it is the prompt's number
PRECISION = 22  # bits after the point of Pillow's integer filter weights


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture resized to size (width, height), pixel for pixel as Pillow 13's `resize` does it."""
    (width, height), (new_width, new_height) = image.size, size
    down_first = _down_first(width, height, new_width, new_height)
    halfway = (width, new_height) if down_first else (new_width, height)
    bicubic = Image.Resampling.BICUBIC
    return image.resize(halfway, bicubic).resize(size, bicubic)


def _down_first(width: int, height: int, new_width: int, new_height: int) -> bool:
    """Whether columns are filtered before rows: when height shrinks, and by more than twice what width does."""
    return new_height < height and height - new_height > 2 * (width - new_width)


def mask_pictures_at(
    masks: NDArray[np.bool_], prompts: NDArray[np.int64], size: tuple[int, int], step: int
) -> NDArray[np.int64]:
    """Every step-th pixel of every step-th row of mask pictures resized to size (width, height), bit for bit.

    masks: (R, H, W). prompts: (R,) the value inside each picture; outside it is OUTSIDE.
    Returns (R, height / step, width / step) values from 0 to 255, starting with the top-left pixel.
    """
    _, height, width = masks.shape
    new_width, new_height = size
    if _down_first(width, height, new_width, new_height):
        flipped = _across_then_down(masks.transpose(0, 2, 1), prompts, new_height, new_width, step)
        return flipped.transpose(0, 2, 1)
    return _across_then_down(masks, prompts, new_width, new_height, step)


def _across_then_down(
    masks: NDArray[np.bool_], prompts: NDArray[np.int64], width: int, height: int, step: int
) -> NDArray[np.int64]:
    x, x_weights = _taps(masks.shape[2], width, step)
    y, y_weights = _taps(masks.shape[1], height, step)
    needed, y = np.unique(y, return_inverse=True)
    rows = masks[:, needed]
    inside = np.zeros((*rows.shape[:2], len(x)), dtype=np.int64)  # weight of the region in each sample
    for k in range(x.shape[1]):
        inside += rows[:, :, x[:, k]] * x_weights[:, k]
    depth = (OUTSIDE - prompts)[:, None, None]  # how far below OUTSIDE the inside is
    narrow = _to_8_bits(OUTSIDE * x_weights.sum(axis=1) - depth * inside)
    total = np.zeros((len(masks), len(y), len(x)), dtype=np.int64)
    for k in range(y.shape[1]):
        total += narrow[:, y[:, k]] * y_weights[:, k, None]
    return _to_8_bits(total)


def _to_8_bits(total: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip((total + (1 << (PRECISION - 1))) >> PRECISION, 0, 255)


def _taps(size: int, new_size: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Source pixels (S, K) and integer weights (S, K) of the new pixels 0, step, 2 step, ...

    The support grows with the reduction; weights are normalised, then rounded half away from zero. Places past the
    edges carry weight 0.
    """
    scale = size / new_size
    stretch = max(scale, 1.0)
    support = 2.0 * stretch
    center = (np.arange(0, new_size, step) + 0.5) * scale
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    last = np.minimum((center + support + 0.5).astype(np.int64), size)
    taps = first[:, None] + np.arange(int(np.ceil(support)) * 2 + 1)
    weights = _bicubic((taps - center[:, None] + 0.5) * (1.0 / stretch))
    weights[taps >= last[:, None]] = 0.0
    # Summed one by one from the left: a pairwise sum may differ in the last bit.
    weights /= np.cumsum(weights, axis=1)[:, -1:]
    fixed = np.trunc(weights * (1 << PRECISION) + np.where(weights < 0, -0.5, 0.5)).astype(np.int64)
    return np.minimum(taps, size - 1), fixed


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -0.5."""
    x, a = np.abs(x), -0.5
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
