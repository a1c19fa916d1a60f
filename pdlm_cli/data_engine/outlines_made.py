"""Outlines of things that people make, from back to front. See outline.py for the coordinates."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from pdlm_cli.data_engine import shapes as s
from pdlm_cli.data_engine.outline import Outline, Variant


def _house(v: Variant) -> Iterator[Outline]:
    if v.has("chimney"):
        yield Outline("chimney", s.box(0.38, -0.98, 0.64, -0.2))
    yield Outline("walls", s.box(-0.78, -0.2, 0.78, 0.85))
    if v.is_("roof", "pointed"):
        yield Outline("roof", s.polygon((-1.0, -0.12), (0.0, -0.95), (1.0, -0.12)))
    else:
        yield Outline("roof", s.polygon((-0.98, -0.1), (-0.8, -0.52), (0.8, -0.52), (0.98, -0.1)))
    yield Outline("door", s.box(-0.55, 0.22, -0.15, 0.85))
    yield Outline("dark", s.ellipse(-0.24, 0.55, 0.04))
    if v.is_("window", "round"):
        yield Outline("window", s.ellipse(0.36, 0.3, 0.25))
    elif v.has("window"):
        yield Outline("window", s.box(0.1, 0.12, 0.62, 0.5))


def _car(v: Variant) -> Iterator[Outline]:
    if v.has("spoiler"):
        yield Outline("spoiler", s.polygon((-0.7, -0.1), (-0.74, -0.36), (-1.06, -0.42), (-1.06, -0.24), (-0.9, -0.1)))
    if v.is_("body", "long"):
        body = [(-1.0, 0.4), (-0.98, -0.05), (-0.6, -0.12), (-0.4, -0.48), (0.22, -0.48), (0.46, -0.1), (0.96, 0.02)]
        yield Outline("body", s.polygon(*body, (1.02, 0.4)))
        yield Outline("glass", s.polygon((-0.46, -0.1), (-0.32, -0.38), (-0.1, -0.38), (-0.1, -0.1)))
        yield Outline("glass", s.polygon((0.0, -0.1), (0.0, -0.38), (0.16, -0.38), (0.34, -0.1)))
        front, back, low, size = 0.58, -0.58, 0.4, 0.24
    else:
        body = [(-0.8, 0.46), (-0.82, -0.1), (-0.62, -0.62), (0.16, -0.66), (0.46, -0.08), (0.78, 0.04)]
        yield Outline("body", s.polygon(*body, (0.84, 0.46)))
        yield Outline("glass", s.polygon((-0.62, -0.1), (-0.5, -0.5), (-0.28, -0.52), (-0.28, -0.1)))
        yield Outline("glass", s.polygon((-0.16, -0.1), (-0.16, -0.53), (0.1, -0.54), (0.32, -0.1)))
        front, back, low, size = 0.42, -0.42, 0.46, 0.29
    for x in (back, front):
        yield Outline("wheels", s.ellipse(x, low, size))
        yield Outline("bright", s.ellipse(x, low, size * 0.35))
    if v.has("headlight"):
        yield Outline("headlight", s.ellipse(front + size + 0.1, 0.14, 0.13))


def _truck(v: Variant) -> Iterator[Outline]:
    if v.has("exhaust"):
        yield Outline("exhaust", s.box(0.3, -0.92, 0.48, 0.3))
    yield Outline("dark", s.box(-0.98, 0.38, 0.9, 0.5))
    yield Outline("trailer", s.box(-1.0, -0.68, 0.26, 0.4))
    yield Outline("cab", s.polygon((0.34, 0.48), (0.34, -0.38), (0.72, -0.38), (0.94, 0.05), (0.96, 0.48)))
    yield Outline("glass", s.polygon((0.48, 0.02), (0.48, -0.26), (0.66, -0.26), (0.8, 0.02)))
    for x in (-0.66, -0.14, 0.66):
        yield Outline("wheels", s.ellipse(x, 0.52, 0.22))
        yield Outline("bright", s.ellipse(x, 0.52, 0.07))


def _cup(v: Variant) -> Iterator[Outline]:
    tall = v.is_("body", "tall")
    half, top, bottom = (0.44, -0.8, 0.66) if tall else (0.7, -0.42, 0.5)
    if v.has("saucer"):
        yield Outline("saucer", s.ellipse(0.0, bottom + 0.02, half + 0.42, 0.2))
    middle, reach = (top + bottom) / 2 - 0.06, (bottom - top) * 0.3
    yield Outline("handle", s.curve(half - 0.05, middle, 0.36, reach, -100, 100, 0.15))
    base = half * (0.86 if tall else 0.6)
    sides = s.polygon((-half, top), (half, top), (base, bottom - 0.06), (base * 0.86, bottom), (-base * 0.86, bottom))
    yield Outline("body", np.concatenate([sides, s.polygon((-base, bottom - 0.06))]))
    if v.has("rim"):
        yield Outline("rim", s.rounded(-half - 0.07, top - 0.12, half + 0.07, top + 0.14, 0.12))
    else:
        yield Outline("dark", s.ellipse(0.0, top, half, 0.07), tone=1.6)


def _flag(v: Variant) -> Iterator[Outline]:
    yield Outline("pole", s.box(-0.86, -0.95, -0.7, 1.0))
    if v.is_("cloth", "rectangular"):
        upper = [(-0.7, -0.88), (-0.3, -0.94), (0.1, -0.84), (0.5, -0.9), (0.88, -0.84)]
        yield Outline("cloth", s.polygon(*upper, *[(x, y + 0.98) for x, y in reversed(upper)]))
        middle = (0.1, -0.4)
    else:
        yield Outline("cloth", s.polygon((-0.7, -0.9), (1.0, -0.36), (-0.7, 0.18)))
        middle = (-0.24, -0.36)
    if v.has("emblem"):
        yield Outline("emblem", s.ellipse(*middle, 0.25))
    if v.has("knob"):
        yield Outline("knob", s.ellipse(-0.78, -0.97, 0.17))


def _balloon(v: Variant) -> Iterator[Outline]:
    for x in (-0.22, 0.22):
        yield Outline("rope", s.stroke((x * 1.7, 0.3), (x, 0.74), width=0.05))
    canopy = [(0.0, -1.0), (0.52, -0.82), (0.72, -0.34), (0.46, 0.2), (0.24, 0.46)]
    yield Outline("canopy", s.smooth(*canopy, (-0.24, 0.46), *[(-x, y) for x, y in reversed(canopy[1:-1])]))
    if v.has("belt"):
        yield Outline("belt", s.polygon((-0.71, -0.34), (0.71, -0.34), (0.58, 0.0), (-0.58, 0.0)))
    yield Outline("basket", s.rounded(-0.28, 0.66, 0.28, 1.02, 0.08))


def _boat(v: Variant) -> Iterator[Outline]:
    yield Outline("mast", s.box(-0.1, -1.0, 0.04, 0.4))
    if v.has("pennant"):
        yield Outline("pennant", s.polygon((-0.1, -1.0), (-0.66, -0.82), (-0.1, -0.62)))
    if v.is_("sail", "wide"):
        yield Outline("sail", s.polygon((0.06, -0.9), (0.5, -0.4), (0.96, 0.24), (0.06, 0.24)))
        yield Outline("sail", s.polygon((-0.12, -0.55), (-0.12, 0.24), (-0.84, 0.24)), tone=0.92)
    else:
        yield Outline("sail", s.polygon((0.06, -0.9), (0.36, -0.4), (0.5, 0.24), (0.06, 0.24)))
    yield Outline("hull", s.polygon((-1.0, 0.34), (1.0, 0.34), (0.68, 0.86), (-0.66, 0.86)))


def _lamp(v: Variant) -> Iterator[Outline]:
    foot = 0.9 if v.is_("stand", "tall") else 0.42
    yield Outline("stand", s.box(-0.1, -0.3, 0.1, foot))
    yield Outline("base", s.arc(0.0, foot + 0.16, 0.52, 0.3, 180, 360))
    if v.has("switch"):
        yield Outline("rope", s.stroke((0.34, -0.26), (0.34, 0.0), width=0.05))
        yield Outline("switch", s.ellipse(0.34, 0.06, 0.13))
    yield Outline("shade", s.polygon((-0.36, -1.0), (0.36, -1.0), (0.72, -0.22), (-0.72, -0.22)))


def _book(v: Variant) -> Iterator[Outline]:
    if v.has("bookmark"):
        yield Outline("bookmark", s.polygon((0.24, 0.6), (0.46, 0.6), (0.46, 1.12), (0.35, 1.0), (0.24, 1.12)))
    yield Outline("paper", s.polygon((-0.6, 0.76), (0.74, 0.76), (0.74, 0.9), (-0.6, 0.9)))
    yield Outline("cover", s.box(-0.5, -0.85, 0.74, 0.78))
    yield Outline("spine", s.polygon((-0.74, -0.79), (-0.48, -0.85), (-0.48, 0.78), (-0.6, 0.9), (-0.74, 0.86)))
    if v.is_("label", "round"):
        yield Outline("label", s.ellipse(0.14, -0.22, 0.32))
    elif v.has("label"):
        yield Outline("label", s.box(-0.24, -0.52, 0.52, -0.1))


def _hat(v: Variant) -> Iterator[Outline]:
    tall = v.is_("top", "tall")
    if v.has("feather"):
        yield Outline("feather", s.smooth((0.36, 0.2), (0.5, -0.5), (0.84, -0.84), (0.88, -0.4), (0.62, 0.1)))
    if tall:
        yield Outline("top", s.polygon((-0.48, 0.4), (-0.54, -0.9), (0.54, -0.9), (0.48, 0.4)))
    else:
        yield Outline(
            "top", np.concatenate([s.arc(0.0, 0.1, 0.58, 0.7, 180, 360), s.polygon((0.58, 0.4), (-0.58, 0.4))])
        )
    if v.has("ribbon"):
        half = 0.5 if tall else 0.59
        yield Outline("ribbon", s.box(-half, 0.02, half, 0.3))
    yield Outline("brim", s.ellipse(0.0, 0.4, 1.0, 0.19))


def _umbrella(v: Variant) -> Iterator[Outline]:
    if v.has("tip"):
        yield Outline("tip", s.polygon((-0.1, -0.66), (0.0, -1.06), (0.1, -0.66)))
    yield Outline("handle", s.box(-0.06, -0.1, 0.06, 0.8))
    yield Outline("handle", s.curve(0.17, 0.78, 0.18, 0.2, 0, 190, 0.13))
    edge = [(1.0, 0.0), (0.66, -0.12), (0.33, 0.02), (0.0, -0.1), (-0.33, 0.02), (-0.66, -0.12), (-1.0, 0.0)]
    dome = [(-0.9, -0.34), (-0.62, -0.6), (-0.3, -0.75), (0.0, -0.8), (0.3, -0.75), (0.62, -0.6), (0.9, -0.34)]
    yield Outline("canopy", s.polygon(*edge, *dome))


def _rocket(v: Variant) -> Iterator[Outline]:
    if v.has("flame"):
        yield Outline("flame", s.polygon((-0.24, 0.6), (-0.16, 0.86), (0.0, 1.12), (0.16, 0.86), (0.24, 0.6)))
    for side in (-1, 1):
        fin = s.polygon((0.26, 0.16), (0.62, 0.56), (0.6, 0.88), (0.26, 0.66))
        yield Outline("fins", fin * (side, 1))
    hull = [(0.26, -0.56), (0.34, -0.1), (0.3, 0.66)]
    yield Outline("body", s.polygon(*hull, *[(-x, y) for x, y in reversed(hull)]))
    yield Outline("nose", s.polygon((-0.27, -0.5), (-0.17, -0.8), (0.0, -1.04), (0.17, -0.8), (0.27, -0.5)))
    if v.has("porthole"):
        yield Outline("porthole", s.ellipse(0.0, -0.2, 0.18))


def _shirt(v: Variant) -> Iterator[Outline]:
    reach = [(0.94, 0.56), (0.66, 0.64)] if v.is_("sleeves", "long") else [(0.92, -0.12), (0.6, 0.1)]
    sleeve = s.polygon((0.38, -0.74), (0.62, -0.62), *reach, (0.44, -0.1))
    yield Outline("sleeves", sleeve, tone=0.95)
    yield Outline("sleeves", s.mirror(sleeve), tone=0.95)
    yield Outline("front", s.polygon((-0.46, -0.76), (0.46, -0.76), (0.5, 0.86), (-0.5, 0.86)))
    yield Outline("collar", s.polygon((-0.34, -0.86), (0.34, -0.86), (0.36, -0.7), (0.0, -0.38), (-0.36, -0.7)))
    if v.has("pocket"):
        yield Outline("pocket", s.box(0.06, -0.2, 0.38, 0.14))


def _kite(v: Variant) -> Iterator[Outline]:
    end = [(0.06, 0.56), (-0.1, 0.8), (0.16, 1.06), (-0.04, 1.32)]
    line = end[:3] if v.is_("tail", "short") else end
    yield Outline("tail", s.stroke((0.0, 0.3), *line, width=0.12))
    if v.has("bows"):
        for x, y in line[1:]:
            yield Outline(
                "bows", s.polygon((x - 0.2, y - 0.12), (x + 0.2, y + 0.12), (x + 0.2, y - 0.12), (x - 0.2, y + 0.12))
            )
    yield Outline("sail", s.polygon((0.0, -1.0), (0.62, -0.34), (0.0, 0.5), (-0.62, -0.34)))
    if v.has("frame"):
        yield Outline("frame", s.stroke((0.0, -1.0), (0.0, 0.5), width=0.11))
        yield Outline("frame", s.stroke((-0.62, -0.34), (0.62, -0.34), width=0.11))


MADE: Mapping[str, Callable[[Variant], Iterator[Outline]]] = {
    "house": _house,
    "car": _car,
    "truck": _truck,
    "cup": _cup,
    "flag": _flag,
    "balloon": _balloon,
    "boat": _boat,
    "lamp": _lamp,
    "book": _book,
    "hat": _hat,
    "umbrella": _umbrella,
    "rocket": _rocket,
    "shirt": _shirt,
    "kite": _kite,
}
