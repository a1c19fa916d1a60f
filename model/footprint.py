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
    cropped = [_crop(mask) for mask in masks]

    def view(columns: int, rows: int) -> NDArray[np.bool_]:
        across, down = columns * per_tile, rows * per_tile
        covered = np.stack([_covered(inside, corner, masks.shape[1:], across, down) for inside, corner in cropped])
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


def _crop(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """The box of a mask, and its top and left pixel."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], (int(ys[0]), int(xs[0]))


def _covered(
    inside: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, ...], across: int, down: int
) -> NDArray[np.float64]:
    """(down, across) share of each patch's area that a mask covers. inside, corner: see _crop. size: height, width."""
    (height, width), (top, left) = size, corner
    rows = _gathered(inside, top, height, down)
    return _gathered(rows.T, left, width, across).T * (down / height * across / width)


def _gathered(inside: NDArray[np.generic], first: int, size: int, cells: int) -> NDArray[np.float64]:
    """(cells, ...) sum of `inside` (n, ...) over each of `cells` equal parts of an axis of `size` pixels.

    inside: its pixels from `first` on, 0 elsewhere. A pixel that an edge goes through counts in part on either side:
    the running sum is a straight line over it. Integers sum up exactly, and what adds nothing leaves an exact 0.
    """
    total = np.zeros((len(inside) + 1, *inside.shape[1:]), dtype=np.float64)
    np.cumsum(inside, axis=0, out=total[1:])
    edges = np.clip(np.arange(cells + 1) * (size / cells) - first, 0, len(inside))
    pixel = np.minimum(edges.astype(np.int64), len(inside) - 1)
    part = (edges - pixel).reshape(-1, *(1,) * (inside.ndim - 1))
    return np.diff(total[pixel] + part * (total[pixel + 1] - total[pixel]), axis=0)
