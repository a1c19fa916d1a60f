"""Scenes that several tests look at, drawn once, and attributes without a picture."""

from functools import cache

import numpy as np

from pdlm_cli.data_engine.attributes import Attributes
from pdlm_cli.data_engine.kinds import KINDS
from pdlm_cli.data_engine.levels import LEVELS
from pdlm_cli.data_engine.looks import choose_look, choose_variant
from pdlm_cli.data_engine.scene import Scene, draw_scene

FULL = len(LEVELS) - 1


@cache
def scenes(level: int = FULL, count: int = 40) -> tuple[Scene, ...]:
    return tuple(draw_scene(11, index, level) for index in range(count))


def everything() -> list[Scene]:
    """Scenes of all levels."""
    return [scene for level in range(len(LEVELS)) for scene in scenes(level)]


def random_attributes(rng: np.random.Generator, pixels: float = 1e5) -> Attributes:
    """Of any kind. pixels: the larger, the more surfaces have patterns, and the longer the captions are."""
    kind = tuple(KINDS.values())[int(rng.integers(len(KINDS)))]
    look = choose_look(rng, LEVELS[FULL], kind, choose_variant(rng, kind), pixels, [])
    return Attributes(kind.name, look.parts)
