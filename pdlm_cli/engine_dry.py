"""`--dry-run-model`: everything of a run but the network, so that the pipeline itself can be measured and tested.

Pictures and masks are prepared as for a checkpoint of the published one's sizes; torch is not imported.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.captions import Caption, PassCaptions
from model.preprocess import Geometry, PreparedImage, PreparedPass, prepare_image, prepare_pass
from model.regions import RegionConfig
from pdlm_cli.engine import PassResult

MAX_REGIONS = 6
GEOMETRY = Geometry(512, 16, min_tiles=1, max_tiles=6, regions=RegionConfig.isolated(MAX_REGIONS, roi_size=4))


@dataclass(frozen=True, kw_only=True)
class DryPass(PreparedPass):
    """areas: pixels of each mask."""

    areas: tuple[int, ...]


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

    def prepare_image(self, picture: Image.Image) -> PreparedImage:
        return prepare_image(picture, GEOMETRY)

    def prepare_pass(
        self, image: PreparedImage, masks: NDArray[np.bool_], seeds: Sequence[int], instruction: str | None
    ) -> DryPass:
        prepared = prepare_pass(image, masks, GEOMETRY, seeds=seeds, instruction=instruction)
        return DryPass(**vars(prepared), areas=tuple(int(np.count_nonzero(mask)) for mask in masks))

    def caption(self, passes: Sequence[Any]) -> list[PassResult]:
        return [
            PassCaptions(
                [_caption(area) for area in item.areas],
                item.slots,
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
