"""From plain shapes to full scenes."""

from collections.abc import Sequence
from dataclasses import dataclass

from pdlm_cli.data_engine.kinds import SHAPES, THINGS, Kind

SQUARE = ((1, 1),)


@dataclass(frozen=True, slots=True)
class Level:
    """What scenes of a level may hold.

    objects: fewest and most. patterns, materials: whether surfaces bear them. turn: degrees from upright at most.
    twin: probability that an object is of the same kind as one before it. overlap: objects may hide one another.
    backgrounds: names in background.py. aspects: width to height, one is drawn at random; the shorter side has the
    size asked for. rough: shadows and grain.
    """

    summary: str
    kinds: Sequence[Kind]
    objects: tuple[int, int]
    patterns: bool = False
    materials: bool = False
    turn: float = 0.0
    twin: float = 0.0
    overlap: bool = False
    backgrounds: tuple[str, ...] = ("plain",)
    aspects: tuple[tuple[int, int], ...] = SQUARE
    rough: bool = False


_TEXTURED = ("gradient", "clouds", "grass", "tiles", "planks", "horizon")

LEVELS = (
    Level("one shape in one color", SHAPES, (1, 1)),
    Level("one to four shapes with patterns, turned", SHAPES, (1, 4), patterns=True, turn=30, twin=0.4),
    Level("one object with parts, each in one color", THINGS, (1, 1)),
    Level(
        "one to four objects with patterns, turned, often two of a kind",
        THINGS,
        (1, 4),
        patterns=True,
        turn=15,
        twin=0.4,
        backgrounds=("plain", "gradient"),
    ),
    Level(
        "one to six objects with patterns and materials that hide one another, on textures",
        THINGS,
        (1, 6),
        patterns=True,
        materials=True,
        turn=20,
        twin=0.45,
        overlap=True,
        backgrounds=_TEXTURED,
    ),
    Level(
        "full scenes: one to ten objects, wide and tall pictures, shadows, grain",
        THINGS,
        (1, 10),
        patterns=True,
        materials=True,
        turn=25,
        twin=0.5,
        overlap=True,
        backgrounds=_TEXTURED,
        aspects=(*SQUARE * 8, (2, 1), (2, 1), (1, 2), (1, 2), (3, 2), (2, 3)),
        rough=True,
    ),
)
