"""An outline, and what is decided about an object before its outlines can be drawn.

Coordinates: x to the right, y down, the object roughly within -1 to 1. Outlines named after no part are details
that captions never speak of; they have colors of their own (see DETAILS).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pdlm_cli.data_engine.shapes import Points

DETAILS: Mapping[str, tuple[int, int, int]] = {
    "dark": (40, 38, 42),
    "bright": (250, 250, 248),
    "glass": (186, 216, 232),
    "paper": (240, 232, 208),
    "rope": (92, 78, 66),
}


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """name: of a part, or a key of DETAILS. tone: brightness of the surface, 1 is the color itself."""

    name: str
    points: Points
    tone: float = 1.0


@dataclass(frozen=True, slots=True)
class Variant:
    """Which parts an object has, and the shape of those that have one."""

    parts: frozenset[str]
    shapes: frozenset[tuple[str, str]]

    def has(self, part: str) -> bool:
        return part in self.parts

    def is_(self, part: str, shape: str) -> bool:
        return (part, shape) in self.shapes
