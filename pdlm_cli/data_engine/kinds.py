"""The kinds of objects: which parts each has, what may be said of them, and how they are counted."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartKind:
    """A part in general.

    plural: the name is a plural, "wheels". optional: some objects of the kind lack it.
    patterned: it may bear a pattern or a material (if large enough). shapes: adjectives that the outline follows,
    one of which is always chosen.
    """

    name: str
    plural: bool = False
    optional: bool = False
    patterned: bool = False
    materials: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object. Its first part is the main one: a "red car" is a car with a red body."""

    name: str
    plural: str
    parts: tuple[PartKind, ...]

    @property
    def main(self) -> PartKind:
        return self.parts[0]

    def part(self, name: str) -> PartKind:
        return next(part for part in self.parts if part.name == name)


def _kind(name: str, *parts: PartKind, plural: str | None = None) -> Kind:
    return Kind(name, plural or f"{name}s", parts)


def _shape(name: str, plural: str | None = None) -> Kind:
    """A bare shape is its own only part."""
    return _kind(name, PartKind(name, patterned=True), plural=plural)


SHAPES = (
    _shape("circle"),
    _shape("square"),
    _shape("triangle"),
    _shape("star"),
    _shape("heart"),
    _shape("cross", plural="crosses"),
    _shape("moon"),
    _shape("hexagon"),
)

THINGS = (
    _kind(
        "house",
        PartKind("walls", plural=True, patterned=True, materials=("brick", "wooden")),
        PartKind("roof", patterned=True, shapes=("pointed", "flat")),
        PartKind("door"),
        PartKind("window", optional=True, shapes=("round", "rectangular")),
        PartKind("chimney", optional=True),
    ),
    _kind(
        "car",
        PartKind("body", patterned=True, shapes=("long", "short")),
        PartKind("wheels", plural=True),
        PartKind("headlight", optional=True),
        PartKind("spoiler", optional=True),
    ),
    _kind(
        "truck",
        PartKind("trailer", patterned=True, materials=("wooden", "metal")),
        PartKind("cab"),
        PartKind("wheels", plural=True),
        PartKind("exhaust", optional=True),
    ),
    _kind(
        "cup",
        PartKind("body", patterned=True, shapes=("tall", "wide")),
        PartKind("handle"),
        PartKind("rim", optional=True),
        PartKind("saucer", optional=True),
    ),
    _kind(
        "fish",
        PartKind("body", patterned=True, shapes=("round", "long")),
        PartKind("tail", patterned=True),
        PartKind("fin"),
        PartKind("snout", optional=True),
        plural="fish",
    ),
    _kind(
        "flower",
        PartKind("petals", plural=True, shapes=("round", "pointed")),
        PartKind("center"),
        PartKind("stem"),
        PartKind("leaves", plural=True, optional=True),
    ),
    _kind(
        "flag",
        PartKind("cloth", patterned=True, shapes=("rectangular", "pointed")),
        PartKind("pole"),
        PartKind("knob", optional=True),
        PartKind("emblem", optional=True),
    ),
    _kind(
        "balloon",
        PartKind("canopy", patterned=True),
        PartKind("basket", materials=("woven",)),
        PartKind("belt", optional=True),
    ),
    _kind(
        "tree",
        PartKind("crown", shapes=("round", "pointed")),
        PartKind("trunk"),
        PartKind("apples", plural=True, optional=True),
        PartKind("swing", optional=True),
    ),
    _kind(
        "boat",
        PartKind("hull", patterned=True, materials=("wooden", "metal")),
        PartKind("sail", patterned=True, shapes=("wide", "narrow")),
        PartKind("mast"),
        PartKind("pennant", optional=True),
    ),
    _kind(
        "lamp",
        PartKind("shade", patterned=True),
        PartKind("stand", shapes=("tall", "short")),
        PartKind("base", materials=("wooden", "metal")),
        PartKind("switch", optional=True),
    ),
    _kind(
        "bird",
        PartKind("body", patterned=True),
        PartKind("wing", patterned=True),
        PartKind("beak", shapes=("long", "short")),
        PartKind("crest", optional=True),
    ),
    _kind(
        "book",
        PartKind("cover", patterned=True),
        PartKind("spine"),
        PartKind("label", optional=True, shapes=("round", "rectangular")),
        PartKind("bookmark", optional=True),
    ),
    _kind(
        "hat",
        PartKind("top", patterned=True, materials=("woven",), shapes=("tall", "round")),
        PartKind("brim"),
        PartKind("ribbon", optional=True),
        PartKind("feather", optional=True),
    ),
    _kind(
        "umbrella",
        PartKind("canopy", patterned=True),
        PartKind("handle"),
        PartKind("tip", optional=True),
    ),
    _kind(
        "butterfly",
        PartKind("wings", plural=True, patterned=True, shapes=("round", "pointed")),
        PartKind("body"),
        PartKind("feelers", plural=True, optional=True),
        plural="butterflies",
    ),
    _kind(
        "rocket",
        PartKind("body", patterned=True, materials=("metal",)),
        PartKind("nose"),
        PartKind("fins", plural=True),
        PartKind("porthole", optional=True),
        PartKind("flame", optional=True),
    ),
    _kind(
        "mushroom",
        PartKind("cap", patterned=True, shapes=("round", "flat")),
        PartKind("stem"),
        PartKind("ring", optional=True),
    ),
    _kind(
        "shirt",
        PartKind("front", patterned=True),
        PartKind("sleeves", plural=True, patterned=True, shapes=("long", "short")),
        PartKind("collar"),
        PartKind("pocket", optional=True),
    ),
    _kind(
        "kite",
        PartKind("sail", patterned=True),
        PartKind("tail", shapes=("long", "short")),
        PartKind("bows", plural=True, optional=True),
        PartKind("frame", optional=True),
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (*SHAPES, *THINGS)}
MAX_PARTS = 4  # of one object; more could not be told in a caption of 32 tokens
