"""What can be said of an object: the closed vocabulary, and an object's attributes in its terms."""

from collections.abc import Mapping
from dataclasses import dataclass

# Far enough apart to stay apart under shading and jitter. The order is the canonical one of two-coloured patterns.
COLORS: Mapping[str, tuple[int, int, int]] = {
    "red": (206, 36, 40),
    "orange": (243, 128, 22),
    "yellow": (246, 212, 48),
    "green": (46, 150, 62),
    "turquoise": (52, 196, 192),
    "blue": (42, 84, 204),
    "purple": (124, 52, 168),
    "pink": (246, 150, 192),
    "brown": (122, 76, 40),
    "black": (38, 38, 44),
    "gray": (142, 144, 150),
    "white": (246, 246, 246),
}
COLOR_NAMES = tuple(COLORS)

# pattern -> its plural noun, "with white dots". Dots lie on a ground color; the others have two equal colors.
PATTERNS: Mapping[str, str] = {"striped": "stripes", "checked": "checks", "zigzag": "zigzags", "dotted": "dots"}
PLAIN = "plain"

MATERIALS = ("wooden", "brick", "metal", "woven")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an object, as far as it is visible, or as far as a caption mentions it.

    colors: ground color, then the second color of a pattern; one of a plain part, none if not mentioned. Where
    both are equal (see PATTERNS) they stand in the order of COLORS.
    """

    name: str
    colors: tuple[str, ...] = ()
    pattern: str = PLAIN
    material: str | None = None
    shape: str | None = None


@dataclass(frozen=True, slots=True)
class Attributes:
    """An object: its kind and its parts. kind is None where a caption names none."""

    kind: str | None
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part | None:
        """The first part of that name."""
        return next((part for part in self.parts if part.name == name), None)


def in_order(pattern: str, colors: tuple[str, ...]) -> tuple[str, ...]:
    """Colors as Part holds them: "white and red stripes" are red and white ones, white dots on red are not."""
    return colors if pattern == "dotted" else tuple(sorted(colors, key=COLOR_NAMES.index))


def contrast(first: str, second: str) -> float:
    """Distance of two named colors in RGB, 0 to 441."""
    pairs = zip(COLORS[first], COLORS[second], strict=True)
    return float(sum((a - b) ** 2 for a, b in pairs)) ** 0.5
