"""How far the approximate caches stray: `python -m tests.cache_agreement`.

Under released attention prompt and image see the captions, so keys and values kept between steps are approximate. Six
regions a picture are decoded with each setting and compared with recomputing everything in every step: the share of
tokens that are the same, and of captions that are the same as a whole. Two sets of weights: the small model of the
recorded numbers, which is the published architecture with random weights, and `random_model("tiny")` with released
semantics. Prints a table, then one JSON line.
"""

import json
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.config import RegionConfig
from model.decode import caption_passes
from model.pdlm import PerceptionDLM, load_model
from model.preprocess import PreparedPass, prepare_image, prepare_pass
from model.settings import DecodeSettings
from model.sizes import random_model

RECORDED = Path(__file__).parent / "data/region/checkpoint"
CACHES = ("refresh=1", "refresh=2", "refresh=4", "refresh=8", "frozen")
PICTURES, REGIONS, STEPS, LENGTH = 8, 6, 16, 16


def main() -> None:
    recorded = load_model(RECORDED, dtype=torch.float32, device=torch.device("cpu"))
    assert isinstance(recorded, PerceptionDLM)
    random = random_model("tiny", regions=RegionConfig.released(max_regions=6, roi_size=4))
    results = {name: agreement(model) for name, model in (("recorded", recorded), ("random", random))}
    print(f"{'weights':10}{'cache':12}{'tokens':>8}{'captions':>10}")
    for name, found in results.items():
        for cache, (tokens, captions) in found.items():
            print(f"{name:10}{cache:12}{tokens:>8.1%}{captions:>10.1%}")
    print(json.dumps({"pictures": PICTURES, "regions": REGIONS, "steps": STEPS, "length": LENGTH, **results}))


def agreement(model: PerceptionDLM) -> dict[str, tuple[float, float]]:
    """Shares of tokens and of captions, 0 to 1, by cache."""
    passes = [drawn_pass(model, seed) for seed in range(PICTURES)]
    exact = decoded(model, passes, "none")
    found = {}
    for cache in CACHES:
        same = decoded(model, passes, cache) == exact
        found[cache] = round(float(same.mean()), 4), round(float(same.all(axis=1).mean()), 4)
    return found


def drawn_pass(model: PerceptionDLM, seed: int) -> PreparedPass:
    """A picture of soft blobs with boxes on it."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((300, 200), Image.Resampling.BICUBIC)
    masks = np.zeros((REGIONS, 200, 300), dtype=bool)
    for mask in masks:
        (top, left), (height, width) = rng.integers(0, 100, 2), rng.integers(20, 100, 2)
        mask[top : top + height, left : left + width] = True
    return prepare_pass(prepare_image(image, model.config), masks, model.config)


def decoded(model: PerceptionDLM, passes: list[PreparedPass], cache: str) -> np.ndarray:
    """(captions, LENGTH) ids in all slots, those after the end token too."""
    states: list[list[list[list[int]]]] = []
    settings = DecodeSettings(steps=STEPS, length=LENGTH, sampler="remask", cache=cache)
    caption_passes(model, passes, settings, states.append)
    return np.array(list(chain(*states[-1])))


if __name__ == "__main__":
    main()
