"""From a picture and masks to what a pass needs: tiles, footprints, boxes. No weights are involved, and no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import footprint
from model.passes import bind
from model.regions import RegionConfig
from model.resize import resize

if TYPE_CHECKING:
    from torch import Tensor

    from model.config import PerceptionDLMConfig


@dataclass(frozen=True)
class Geometry:
    """The fields of a PerceptionDLMConfig that preparing needs, for who has no use for the rest, or for torch."""

    tile_size: int
    patch_size: int
    min_tiles: int
    max_tiles: int
    regions: RegionConfig | None


Config = Union[Geometry, "PerceptionDLMConfig"]


@dataclass(frozen=True)
class PreparedImage:
    """A picture cut into tiles, row by row, with a thumbnail last if there is more than one tile.

    tiles: (T, 3, S, S) uint8. grid: tile columns, tile rows. size: width, height of the picture in pixels.
    """

    tiles: NDArray[np.uint8]
    grid: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class PreparedPass:
    """One pass: R regions of one picture, in slot order.

    order: slot -> index into the masks that were given. footprints: (R, T, g, g) patches that receive a region
    prompt. boxes: (R, 4) xyxy over width and height. prompts, markers: the region prompt and the caption marker of
    each slot. seeds: one a slot, for sampling.
    """

    image: PreparedImage
    order: tuple[int, ...]
    footprints: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    prompts: tuple[int, ...]
    markers: tuple[int, ...]
    seeds: tuple[int, ...]


def prepare_image(image: Image.Image, config: Config) -> PreparedImage:
    """Cut an RGB picture into tiles of `config.tile_size` pixels."""
    side = config.tile_size
    columns, rows = choose_grid(*image.size, side, config.min_tiles, config.max_tiles)
    mosaic = resize(image, (columns * side, rows * side))
    corners = [(x * side, y * side) for y in range(rows) for x in range(columns)]
    views = [mosaic.crop((x, y, x + side, y + side)) for x, y in corners]
    if len(views) > 1:
        views.append(resize(image, (side, side)))
    pixels = np.stack([np.asarray(view) for view in views])
    return PreparedImage(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), (columns, rows), image.size)


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


def count_tiles(width: int, height: int, config: Config) -> int:
    """Tiles of a picture of that size in pixels, the thumbnail counted."""
    columns, rows = choose_grid(width, height, config.tile_size, config.min_tiles, config.max_tiles)
    return columns * rows + (columns * rows > 1)


def normalise(tiles: "Tensor") -> "Tensor":
    """uint8 pixels to float32 in [-1, 1]: / 255, mean 0.5, std 0.5."""
    return ((tiles.float() / 255) - 0.5) / 0.5


def prepare_pass(
    image: PreparedImage,
    masks: NDArray[np.bool_],
    config: Config,
    *,
    prompts: Sequence[int] | None = None,
    markers: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
) -> PreparedPass:
    """Regions of one pass, sorted by area, largest first (as given among equals).

    masks: (R, H, W), in pixels of the picture, none empty. prompts, markers: of each slot (as captioning binds them if
    None). seeds: of each mask. Raises ValueError on masks of another size, too many masks and empty ones.
    """
    regions = config.regions
    if regions is None:
        raise ValueError("this checkpoint is image-level: it has no region prompts; use a region checkpoint")
    masks = check_masks(masks, image.size)
    count = len(masks)
    if not 1 <= count <= regions.max_regions:
        raise ValueError(f"a pass holds 1 to {regions.max_regions} regions, found {count}; split them over passes")
    order = np.argsort(-masks.sum(axis=(1, 2)), kind="stable")
    masks = masks[order]
    slots = tuple(range(count))
    usual_prompts, usual_markers = bind(slots, regions.binding)
    prompts = usual_prompts if prompts is None else tuple(prompts)
    return PreparedPass(
        image=image,
        order=tuple(order.tolist()),
        footprints=footprint.of_rule(
            regions.footprint, masks, np.array(prompts), image.grid, config.tile_size, config.patch_size
        ),
        boxes=normalised_boxes(masks, inclusive=regions.roi_features == "released"),
        prompts=prompts,
        markers=usual_markers if markers is None else tuple(markers),
        seeds=tuple(seeds[i] for i in order) if seeds is not None else slots,
    )


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
