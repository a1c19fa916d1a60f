"""From a picture and masks to what a pass needs: tiles, footprints, boxes. No weights are involved, and no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import footprint
from model.geometry import check_masks, choose_grid, cut_tiles, normalised_boxes
from model.passes import bind
from model.regions import RegionConfig

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
    each slot. seeds: one a slot, for sampling. instruction: what is asked about these regions, None for the same as
    everywhere.
    """

    image: PreparedImage
    order: tuple[int, ...]
    footprints: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    prompts: tuple[int, ...]
    markers: tuple[int, ...]
    seeds: tuple[int, ...]
    instruction: str | None = None

    @property
    def slots(self) -> list[int]:
        """The slot of each mask."""
        return [self.order.index(mask) for mask in range(len(self.order))]


def prepare_image(image: Image.Image, config: Config) -> PreparedImage:
    """Cut an RGB picture into tiles of `config.tile_size` pixels."""
    side = config.tile_size
    grid = choose_grid(*image.size, side, config.min_tiles, config.max_tiles)
    return PreparedImage(cut_tiles(image, side, grid), grid, image.size)


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
    instruction: str | None = None,
) -> PreparedPass:
    """Regions of one pass, sorted by area, largest first (as given among equals).

    masks: (R, H, W), in pixels of the picture, none empty. prompts, markers: of each slot (as captioning binds them if
    None). seeds: of each mask. instruction: see `PreparedPass`. Raises ValueError on masks of another size, too many
    masks and empty ones.
    """
    regions = config.regions
    if regions is None:
        raise ValueError("this checkpoint is image-level: it has no region prompts; use a region checkpoint")
    masks = check_masks(masks, image.size)
    count = len(masks)
    if not 1 <= count <= regions.max_regions:
        raise ValueError(f"a pass holds 1 to {regions.max_regions} regions, found {count}; split them over passes")
    order = np.argsort([-np.count_nonzero(mask) for mask in masks], kind="stable")  # a sum over axes takes far longer
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
        instruction=instruction,
    )
