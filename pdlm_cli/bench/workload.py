"""Pictures and masks to be captioned: of a given number of tiles and regions, and nothing else about them matters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.geometry import choose_grid
from model.preprocess import PreparedImage, PreparedPass, prepare_image, prepare_pass
from pdlm_cli.errors import ConfigError

if TYPE_CHECKING:
    from model.config import PerceptionDLMConfig


@dataclass(frozen=True)
class Scene:
    """A picture, prepared, and its masks (R, height, width)."""

    image: PreparedImage
    masks: NDArray[np.bool_]

    @property
    def tiles(self) -> int:
        return len(self.image.tiles)

    def passes(self, config: "PerceptionDLMConfig", together: int) -> list[PreparedPass]:
        """All regions, `together` a pass at most."""
        shares = [self.masks[first : first + together] for first in range(0, len(self.masks), together)]
        return [prepare_pass(self.image, share, config) for share in shares]


def draw_scene(config: "PerceptionDLMConfig", tiles: int, regions: int, seed: int = 0) -> Scene:
    """Noise of the size that gives that many tiles, thumbnail included, with boxes for masks. Raises ConfigError."""
    side = config.tile_size
    columns, rows = _grid(config, tiles)
    rng = np.random.default_rng(seed)
    width, height = columns * side, rows * side
    picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    masks = np.zeros((regions, height, width), dtype=bool)
    for mask in masks:
        w, h = rng.integers(side // 4, side // 2, 2)
        x, y = rng.integers(0, width - w), rng.integers(0, height - h)
        mask[y : y + h, x : x + w] = True
    return Scene(prepare_image(picture, config), masks)


def most_tiles(config: "PerceptionDLMConfig") -> int:
    """Of a picture, thumbnail included."""
    return config.max_tiles + (config.max_tiles > 1)


def _grid(config: "PerceptionDLMConfig", tiles: int) -> tuple[int, int]:
    """Columns and rows of a picture of that many tiles, as square as can be."""
    side = config.tile_size
    without = tiles - 1 if tiles > 1 else 1
    columns = min((c for c in range(1, without + 1) if without % c == 0), key=lambda c: abs(c - without / c - 0.5))
    grid = columns, without // columns
    found = choose_grid(grid[0] * side, grid[1] * side, side, config.min_tiles, config.max_tiles)
    if tiles == 2 or found[0] * found[1] != without:
        most = most_tiles(config)
        raise ConfigError(f"--tiles {tiles}: this checkpoint cuts pictures into 1 or 3 to {most}, thumbnail included")
    return grid
