"""Which patches of which tiles receive a region's prompt.

The rules look at the mask only where patches are: nothing the size of the tiled picture is ever made.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.resize import OUTSIDE, mask_pictures_at

Masks = NDArray[np.bool_]  # (R, H, W), in pixels of the picture
Footprint = NDArray[np.bool_]  # (R, T, g, g): g x g patches of T tiles, thumbnail last if there is more than one


def of_rule(
    rule: str, masks: Masks, prompts: NDArray[np.int64], grid: tuple[int, int], tile: int, patch: int
) -> Footprint:
    """The footprint by its rule's name in `RegionConfig`; "none" marks no patch."""
    if rule == "released":
        return released(masks, prompts, grid, tile, patch)
    if rule == "coverage":
        return coverage(masks, grid, tile, patch)
    side = tile // patch
    return _with_thumbnail(lambda columns, rows: np.zeros((len(masks), columns * rows, side, side), dtype=bool), grid)


def released(masks: Masks, prompts: NDArray[np.int64], grid: tuple[int, int], tile: int, patch: int) -> Footprint:
    """Patches whose top-left pixel is not OUTSIDE after the mask picture went through the picture's own resize.

    masks: (R, H, W). prompts: (R,) the number inside each mask picture. grid: tile columns, tile rows.
    tile, patch: sides in pixels.
    """

    def view(columns: int, rows: int) -> NDArray[np.bool_]:
        resized = mask_pictures_at(masks, prompts, (columns * tile, rows * tile), patch)
        return _cut(resized != OUTSIDE, columns, rows)

    return _with_thumbnail(view, grid)


def coverage(masks: Masks, grid: tuple[int, int], tile: int, patch: int) -> Footprint:
    """Patches that a region covers at least half as well as its best patch, in the tiles and in the thumbnail alike.

    Relative to the best, so that a pole thinner than a patch is marked along its whole length and a region of a
    single pixel still marks one patch.
    """
    per_tile = tile // patch

    def view(columns: int, rows: int) -> NDArray[np.bool_]:
        across, down = columns * per_tile, rows * per_tile
        covered = np.stack([_covered(mask, across, down) for mask in masks])
        best = covered.max(axis=(1, 2), keepdims=True)
        # The margin keeps exact halves on one side whatever the order of summation.
        return _cut((covered > 0) & (covered >= best * (0.5 - 1e-4)), columns, rows)

    return _with_thumbnail(view, grid)


def _with_thumbnail(view: Callable[[int, int], NDArray[np.bool_]], grid: tuple[int, int]) -> Footprint:
    columns, rows = grid
    tiles = view(columns, rows)
    return tiles if columns * rows == 1 else np.concatenate([tiles, view(1, 1)], axis=1)


def _cut(patches: NDArray[np.bool_], columns: int, rows: int) -> NDArray[np.bool_]:
    """(R, rows * g, columns * g) patches of the whole picture to (R, rows * columns, g, g), tile by tile."""
    regions, down, across = patches.shape
    tiles = patches.reshape(regions, rows, down // rows, columns, across // columns)
    return tiles.transpose(0, 1, 3, 2, 4).reshape(regions, rows * columns, down // rows, across // columns)


def _covered(mask: NDArray[np.bool_], across: int, down: int) -> NDArray[np.float32]:
    """(down, across) share of each patch's area that the mask covers; only the mask's own box is looked at."""
    height, width = mask.shape
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y, x = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    inside = mask[y, x].astype(np.float32)
    return np.matmul(np.matmul(_shares(height, down)[:, y], inside), _shares(width, across)[:, x].T)


def _shares(size: int, cells: int) -> NDArray[np.float32]:
    """(cells, size) share of each cell's length that each pixel fills, cells dividing `size` pixels evenly."""
    edges = np.arange(cells + 1) * (size / cells)
    pixels = np.arange(size)
    overlap = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])
    return (np.clip(overlap, 0.0, None) * (cells / size)).astype(np.float32)
