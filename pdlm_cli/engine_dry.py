"""`--dry-run-model`: everything of a run but the network, so that the pipeline itself can be measured and tested.

Pictures are cut into tiles and masks become footprints as for the released checkpoint; torch is not imported.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import footprint
from model.captions import Caption, PassCaptions
from model.geometry import choose_grid, cut_tiles, normalised_boxes
from pdlm_cli.engine import PassResult

TILE, PATCH, MOST_TILES, MAX_REGIONS = 512, 16, 6, 6  # of the released checkpoint


@dataclass(frozen=True)
class DryImage:
    """tiles: (T, 3, S, S) uint8. grid: tile columns, tile rows."""

    tiles: NDArray[np.uint8]
    grid: tuple[int, int]


@dataclass(frozen=True)
class DryPass:
    """areas: pixels of each mask. footprints, boxes: as a model gets them."""

    image: DryImage
    areas: tuple[int, ...]
    footprints: NDArray[np.bool_]
    boxes: NDArray[np.float64]


@dataclass(frozen=True)
class DryEngine:
    """An Engine whose captions only tell the size of their region."""

    max_regions: int = MAX_REGIONS
    batch_size: int = 1
    parallel: int = 1
    incidents: Mapping[str, int] = field(default_factory=dict)
    busy: Sequence[tuple[str, float]] = ()
    model_sha256: str = hashlib.sha256(b"dry run 1").hexdigest()
    facts: Mapping[str, str] = field(
        default_factory=lambda: {
            "model": "dry run without a network, whose captions describe nothing",
            "device": "cpu",
            "dtype": "none",
            "weights": "none",
        }
    )

    def prepare_image(self, picture: Image.Image) -> DryImage:
        grid = choose_grid(*picture.size, TILE, 1, MOST_TILES)
        return DryImage(cut_tiles(picture, TILE, grid), grid)

    def prepare_pass(
        self, image: DryImage, masks: NDArray[np.bool_], seeds: Sequence[int], instruction: str | None
    ) -> DryPass:
        return DryPass(
            image,
            tuple(int(np.count_nonzero(mask)) for mask in masks),
            footprint.coverage(masks, image.grid, TILE, PATCH),
            normalised_boxes(masks, inclusive=False),
        )

    def caption(self, passes: Sequence[Any]) -> list[PassResult]:
        return [
            PassCaptions(
                [_caption(area) for area in item.areas],
                list(range(len(item.areas))),
                together=len(passes),
                encode_ms=0.0,
                decode_ms=0.0,
                encode_share_ms=0.0,
                decode_share_ms=0.0,
                broken=False,
            )
            for item in passes
        ]


def _caption(area: int) -> Caption:
    text = f"region of {area} pixels"
    return Caption(
        text, tokens=[], finish_reason="eos", tokens_generated=len(text.split()), mean_confidence=1.0, denoise_steps=1
    )
