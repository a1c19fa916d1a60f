"""What each kind looks like: its outlines from back to front, for a choice of parts and shapes."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from pdlm_cli.data_engine import shapes as s
from pdlm_cli.data_engine.outline import Outline, Variant
from pdlm_cli.data_engine.outlines_living import LIVING
from pdlm_cli.data_engine.outlines_made import MADE
from pdlm_cli.data_engine.shapes import Points


@cache
def outlines(kind: str, variant: Variant) -> tuple[Outline, ...]:
    """Back to front. There are a few variants of each kind, so they are drawn up once."""
    if kind in _BARE:
        return (Outline(kind, _BARE[kind]),)
    return tuple((MADE if kind in MADE else LIVING)[kind](variant))


def _heart() -> Points:
    right = np.concatenate([s.arc(0.42, -0.36, 0.45, 0.45, 200, 390), s.polygon((0.0, 0.9))])
    return np.concatenate([right, s.mirror(right)[::-1]])


def _cross() -> Points:
    arm, reach = 0.28, 0.9
    quarter = s.polygon((arm, -reach), (arm, -arm), (reach, -arm))
    return np.concatenate([s.rotate(quarter, turn) for turn in (0, 90, 180, 270)])


def _moon() -> Points:
    return np.concatenate([s.arc(0.0, 0.0, 0.9, 0.9, 50, 310), s.arc(0.3, 0.0, 0.7, 0.72, 291, 69)])


_BARE: Mapping[str, Points] = {
    "circle": s.ellipse(0.0, 0.0, 0.85),
    "square": s.box(-0.75, -0.75, 0.75, 0.75),
    "triangle": s.polygon((0.0, -0.85), (0.95, 0.75), (-0.95, 0.75)),
    "star": s.star(0.0, 0.05, 1.0, 0.45, 5),
    "heart": _heart(),
    "cross": _cross(),
    "moon": _moon(),
    "hexagon": s.rotate(s.ellipse(0.0, 0.0, 0.9)[::6], 0),
}
