"""How one object is to look: its parts, shapes, colors and surfaces, decided before it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pdlm_cli.data_engine.attributes import COLOR_NAMES, COLORS, PATTERNS, PLAIN, Part, contrast, in_order
from pdlm_cli.data_engine.choice import chance, pick, shuffled
from pdlm_cli.data_engine.draw import Paint, areas
from pdlm_cli.data_engine.kinds import MAX_PARTS, Kind, PartKind
from pdlm_cli.data_engine.levels import Level
from pdlm_cli.data_engine.outline import Variant

SMALLEST_SURFACE = 90.0  # pixels below which no pattern or material can be made out
NARROWEST_STRIPE = 2.2  # pixels
SURFACES = 2  # parts of one object with a pattern or a material at most; more could not be told in 32 tokens
# Distances in RGB (see attributes.contrast): of the two colors of a pattern, of neighboring parts.
PATTERN_CONTRAST, PART_CONTRAST = 140.0, 90.0
JITTER = 9  # of each channel


@dataclass(frozen=True, slots=True)
class Look:
    """parts: every part drawn, with all of its attributes. paints: of the same parts by name."""

    kind: Kind
    variant: Variant
    parts: tuple[Part, ...]
    paints: Mapping[str, Paint]


def choose_variant(rng: np.random.Generator, kind: Kind) -> Variant:
    """Each optional part as likely as not, up to MAX_PARTS parts; one of the shapes each part can have."""
    always = [part for part in kind.parts if not part.optional]
    optional = shuffled(rng, [part for part in kind.parts if part.optional])
    chosen = [part for part in optional if chance(rng, 0.5)][: MAX_PARTS - len(always)]
    present = always + chosen
    return Variant(
        frozenset(part.name for part in present),
        frozenset((part.name, pick(rng, part.shapes)) for part in present if part.shapes),
    )


def choose_look(
    rng: np.random.Generator, level: Level, kind: Kind, variant: Variant, pixels: float, others: Sequence[Look]
) -> Look:
    """Colors and surfaces for an object of `pixels` visible pixels.

    others: earlier looks of the scene; those of the same kind get another main color than this one, and lend it their
    other colors now and then, so that whoever mixes two objects up says something wrong.
    """
    present = [part for part in kind.parts if variant.has(part.name)]
    same = [look for look in others if look.kind is kind]
    colors = _ground_colors(rng, present, same)
    shares = areas(kind.name, variant)
    shapes = dict(variant.shapes)
    parts: list[Part] = []
    paints: dict[str, Paint] = {}
    surfaces = 0
    for part in present:
        area = pixels * shares[part.name] / shares[""]
        color, second, pattern, material = colors[part.name], None, PLAIN, None
        if surfaces < SURFACES and area >= SMALLEST_SURFACE:
            if level.patterns and part.patterned and chance(rng, 0.5):
                pattern = pick(rng, tuple(PATTERNS))
                second = pick(rng, [name for name in COLOR_NAMES if contrast(name, color) >= PATTERN_CONTRAST])
            elif level.materials and part.materials and chance(rng, 0.6):
                material = pick(rng, part.materials)
            surfaces += pattern != PLAIN or material is not None
        named = (color,) if second is None else (color, second)
        texture = material if pattern == PLAIN else pattern
        parts.append(Part(part.name, in_order(pattern, named), pattern, material, shapes.get(part.name)))
        paints[part.name] = _paint(rng, named, texture, area)
    return Look(kind, variant, tuple(parts), paints)


def _ground_colors(rng: np.random.Generator, present: Sequence[PartKind], same: Sequence[Look]) -> dict[str, str]:
    """Different for every part, and well apart from that of the main part."""
    main, *rest = present
    taken = {look.parts[0].colors for look in same}
    lent: list[str] = []
    if same and chance(rng, 0.4):
        # The colors of a twin, moved on by one part: what is red there is blue here.
        source = pick(rng, same)
        lent = [part.colors[0] for part in source.parts]
        lent = lent[1:] + lent[:1]
    order = list(dict.fromkeys([*lent, *shuffled(rng, COLOR_NAMES)]))
    used = {color for colors in taken for color in colors}
    first = next(color for color in order if color not in used)
    colors = {main.name: first}
    for part in rest:
        free = [color for color in order if color not in colors.values()]
        colors[part.name] = next(color for color in free if contrast(color, first) >= PART_CONTRAST)
    return colors


def _paint(rng: np.random.Generator, colors: Sequence[str], texture: str | None, area: float) -> Paint:
    shifts = rng.integers(-JITTER, JITTER + 1, (len(colors), 3)).tolist()
    rgb = tuple(
        (red + dr, green + dg, blue + db)
        for (red, green, blue), (dr, dg, db) in zip((COLORS[name] for name in colors), shifts, strict=True)
    )
    if texture is None:
        return Paint(rgb)
    width = max(area**0.5 / 6 * rng.uniform(0.8, 1.25), NARROWEST_STRIPE)
    direction = 0.0 if texture not in PATTERNS else pick(rng, (0.0, 45.0, 90.0, 135.0))
    return Paint(rgb, texture, width, direction)
