"""Small models, pictures and masks that the tests of `model` share."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.config import RegionConfig
from model.decode import plan_batch
from model.pdlm import PerceptionDLM
from model.preprocess import PreparedPass, prepare_image, prepare_pass
from model.settings import DecodeSettings
from model.sizes import random_model
from model.stream import CaptionStream

ISOLATED = RegionConfig.isolated(max_regions=6, roi_size=4)
RELEASED = RegionConfig.released(max_regions=6, roi_size=4)


@cache
def tiny(regions: RegionConfig = ISOLATED) -> PerceptionDLM:
    """A random model that writes different tokens in different places.

    Weights are large enough for every token to matter; the head looks away from what all places have in common.
    """
    model = random_model("tiny", seed=1, regions=regions)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(4.0)
    with torch.no_grad():
        batch = plan_batch(model, [one_pass(model, 300, 200, 6)], DecodeSettings(length=8))
        common = model.run(model.embed(batch), batch)[0, batch.slots[0].flatten()].mean(dim=0)
        common /= common.norm()
        head = model.language_model.lm_head.weight
        head.copy_(8 * (head - torch.outer(head @ common, common)))
    return model


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def boxes(width: int, height: int, count: int, seed: int = 0) -> NDArray[np.bool_]:
    """`count` rectangular masks of different areas."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), dtype=bool)
    for i in range(count):
        w, h = width // 2 - 5 * i, height // 2 - 3 * i
        x, y = rng.integers(0, width - w), rng.integers(0, height - h)
        masks[i, y : y + h, x : x + w] = True
    return masks


def one_pass(model: PerceptionDLM, width: int, height: int, count: int, seed: int = 0) -> PreparedPass:
    image = prepare_image(picture(width, height, seed), model.config)
    return prepare_pass(image, boxes(width, height, count, seed), model.config, seeds=list(range(count)))


def stream_on_the_way(model: PerceptionDLM, settings: DecodeSettings, passes: Sequence[PreparedPass]) -> CaptionStream:
    """Passes before their first step, all slots judged; in inference mode."""
    sampling = settings.sampling(model.tokens.banned_in_captions)
    stream = CaptionStream(model, settings.rule("isolated"), sampling, settings.length, None, lanes=len(passes))
    stream._admit(list(enumerate(passes)))
    stream._plan()
    stream.judged = stream.pools.slots.flatten().nonzero().squeeze(1)
    return stream


def two_passes(model: PerceptionDLM) -> list[PreparedPass]:
    """Of different pictures and numbers of regions."""
    return [one_pass(model, 300, 200, 3), one_pass(model, 100, 100, 2)]
