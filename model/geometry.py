"""Where things lie on a picture: tiles, masks, boxes. Numpy alone, so that it can be used without torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.resize import resize


def cut_tiles(image: Image.Image, side: int, grid: tuple[int, int]) -> NDArray[np.uint8]:
    """(T, 3, side, side): the tiles of an RGB picture resized to the grid, row by row, then its thumbnail if T > 1.

    grid: tile columns, tile rows. side: of a tile, in pixels.
    """
    columns, rows = grid
    count = columns * rows
    tiles = np.empty((count + (count > 1), 3, side, side), dtype=np.uint8)
    mosaic = tiles[:count].reshape(rows, columns, 3, side, side)
    # Channel by channel: whole rows are copied, where a picture would be taken apart pixel by pixel.
    for i, channel in enumerate(resize(image, (columns * side, rows * side)).split()):
        mosaic[:, :, i] = np.asarray(channel).reshape(rows, side, columns, side).transpose(0, 2, 1, 3)
    if count > 1:
        for i, channel in enumerate(resize(image, (side, side)).split()):
            tiles[count, i] = np.asarray(channel)
    return tiles


def choose_grid(width: int, height: int, side: int, min_tiles: int, max_tiles: int) -> tuple[int, int]:
    """Tile columns and rows whose aspect ratio is closest to the picture's.

    Among equally close grids the later, larger one is taken as long as the picture has more than half its pixels.
    """
    ratio, area = width / height, width * height
    sides = range(1, max_tiles + 1)
    grids = [(c, r) for c in sides for r in sides if min_tiles <= c * r <= max_tiles]
    best, best_distance = grids[0], float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        distance = abs(ratio - columns / rows)
        tie = distance == best_distance and area > 0.5 * side * side * columns * rows
        if distance < best_distance or tie:
            best, best_distance = (columns, rows), distance
    return best


def check_masks(masks: NDArray[np.bool_] | Sequence[NDArray[np.bool_]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Masks as (R, H, W) bool. size: width, height of their picture.

    Raises ValueError naming the first mask that is empty or not of the picture's size.
    """
    width, height = size
    for i, mask in enumerate(masks):
        if np.shape(mask) != (height, width):
            raise ValueError(
                f"expected masks of shape ({height}, {width}), as the picture is, found {np.shape(mask)} as mask {i}"
            )
        if not np.any(mask):
            raise ValueError(f"mask {i} is empty; leave it out")
    return np.asarray(masks, dtype=bool)


def normalised_boxes(masks: NDArray[np.bool_], *, inclusive: bool) -> NDArray[np.float64]:
    """(R, 4) xyxy boxes of masks (R, H, W) over width and height.

    inclusive: maxima are the last pixel's own coordinate, as the released weights learnt; otherwise its far edge.
    """
    _, height, width = masks.shape
    columns, rows = np.any(masks, axis=1), np.any(masks, axis=2)
    x0, y0 = columns.argmax(axis=1), rows.argmax(axis=1)
    x1 = width - 1 - columns[:, ::-1].argmax(axis=1) + (not inclusive)
    y1 = height - 1 - rows[:, ::-1].argmax(axis=1) + (not inclusive)
    return np.stack([x0 / width, y0 / height, x1 / width, y1 / height], axis=1)
