"""Outlines of what grows, swims and flies, from back to front. See outline.py for the coordinates."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from pdlm_cli.data_engine import shapes as s
from pdlm_cli.data_engine.outline import Outline, Variant


def _fish(v: Variant) -> Iterator[Outline]:
    length, height = (0.62, 0.58) if v.is_("body", "round") else (0.74, 0.34)
    nose = 0.72
    back = nose - 2 * length
    tail = [(back + 0.16, 0.0), (back - 0.36, -0.46), (back - 0.22, 0.0), (back - 0.36, 0.46)]
    yield Outline("tail", s.polygon(*tail))
    top = [(nose - length * 1.6, -height * 0.3), (nose - length * 1.15, -height - 0.32), (nose - length * 0.5, -height)]
    yield Outline("fin", s.polygon(*top, (nose - length * 0.6, -height * 0.5)))
    if v.has("snout"):
        yield Outline("snout", s.ellipse(nose + 0.04, 0.05, 0.22, 0.19))
    outline = [
        (nose, 0.0),
        (nose - 0.3 * length, -0.66 * height),
        (nose - length, -height),
        (back + 0.3, -0.45 * height),
    ]
    under = [(x, -y) for x, y in reversed(outline[1:])]
    yield Outline("body", s.smooth(*outline, (back, 0.0), *under))
    yield Outline("bright", s.ellipse(nose - 0.28, -0.14, 0.11))
    yield Outline("dark", s.ellipse(nose - 0.26, -0.14, 0.055))


def _flower(v: Variant) -> Iterator[Outline]:
    yield Outline("stem", s.stroke((0.02, -0.2), (0.04, 0.4), (-0.02, 1.0), width=0.13))
    if v.has("leaves"):
        for side in (-1, 1):
            leaf = s.smooth((0.0, 0.9), (0.22, 0.6), (0.66, 0.46), (0.44, 0.82))
            yield Outline("leaves", leaf * (side, 1), tone=1.0 + 0.06 * side)
    for turn in range(0, 360, 60):
        if v.is_("petals", "round"):
            petal = s.ellipse(0.0, -0.42, 0.25, 0.26)
        else:
            petal = s.smooth((0.0, -0.14), (0.19, -0.42), (0.0, -0.84), (-0.19, -0.42))
        yield Outline("petals", s.rotate(petal, turn) + (0.0, -0.32), tone=1.06 if turn % 120 else 0.97)
    yield Outline("center", s.ellipse(0.0, -0.32, 0.23))


def _tree(v: Variant) -> Iterator[Outline]:
    yield Outline("trunk", s.polygon((-0.15, 0.1), (0.15, 0.1), (0.22, 1.0), (-0.22, 1.0)))
    if v.has("swing"):
        for x in (0.4, 0.72):
            yield Outline("rope", s.stroke((x, 0.1), (x, 0.72), width=0.045))
        yield Outline("swing", s.box(0.3, 0.66, 0.82, 0.82))
    if v.is_("crown", "round"):
        lobes = [(-0.42, 0.0, 0.4), (0.42, 0.0, 0.4), (-0.26, -0.5, 0.4), (0.28, -0.5, 0.4), (0.0, -0.2, 0.5)]
        for i, (x, y, r) in enumerate(lobes):
            yield Outline("crown", s.ellipse(x, y, r), tone=0.94 + 0.03 * i)
        spots = [(-0.4, -0.05), (0.1, -0.45), (0.42, 0.06), (-0.2, -0.58)]
    else:
        for top, half in ((-0.35, 0.78), (-0.68, 0.62), (-1.0, 0.44)):
            yield Outline(
                "crown", s.polygon((0.0, top), (half, top + 0.68), (-half, top + 0.68)), tone=0.8 - top * 0.25
            )
        spots = [(-0.4, 0.16), (0.1, -0.35), (0.36, 0.12), (-0.16, -0.12)]
    if v.has("apples"):
        for x, y in spots:
            yield Outline("apples", s.ellipse(x, y, 0.13))


def _bird(v: Variant) -> Iterator[Outline]:
    for x in (-0.08, 0.14):
        yield Outline("rope", s.stroke((x, 0.4), (x + 0.04, 0.86), (x + 0.2, 0.86), width=0.07))
    if v.has("crest"):
        yield Outline("crest", s.polygon((0.28, -0.56), (0.14, -1.04), (0.38, -0.86), (0.5, -1.1), (0.64, -0.56)))
    tip = 1.22 if v.is_("beak", "long") else 0.92
    yield Outline("beak", s.polygon((0.62, -0.54), (tip, -0.38), (0.62, -0.24)))
    back = [(-1.1, -0.22), (-0.96, 0.06), (-0.42, 0.44), (0.16, 0.5), (0.56, 0.18), (0.74, -0.28), (0.7, -0.58)]
    yield Outline("body", s.smooth(*back, (0.44, -0.74), (0.16, -0.56), (-0.12, -0.22), (-0.6, -0.16)))
    yield Outline("wing", s.smooth((0.24, -0.1), (-0.1, -0.22), (-0.72, 0.02), (-0.44, 0.3), (0.06, 0.28)))
    yield Outline("bright", s.ellipse(0.48, -0.48, 0.1))
    yield Outline("dark", s.ellipse(0.5, -0.48, 0.055))


def _butterfly(v: Variant) -> Iterator[Outline]:
    if v.has("feelers"):
        for side in (-1, 1):
            yield Outline("feelers", s.stroke((0.0, -0.4), (0.12 * side, -0.7), (0.3 * side, -0.88), width=0.07))
            yield Outline("feelers", s.ellipse(0.32 * side, -0.9, 0.1))
    if v.is_("wings", "round"):
        upper, lower = s.ellipse(0.52, -0.28, 0.46, 0.4, -20), s.ellipse(0.42, 0.4, 0.34, 0.32, 20)
    else:
        upper = s.polygon((0.04, -0.1), (0.98, -0.86), (0.94, -0.1), (0.04, 0.2))
        lower = s.polygon((0.04, 0.1), (0.82, 0.12), (0.56, 0.86), (0.04, 0.34))
    for wing, tone in ((lower, 0.93), (upper, 1.0)):
        yield Outline("wings", wing, tone)
        yield Outline("wings", s.mirror(wing), tone)
    yield Outline("body", s.ellipse(0.0, 0.06, 0.14, 0.6))


def _mushroom(v: Variant) -> Iterator[Outline]:
    yield Outline("stem", s.smooth((-0.2, -0.1), (0.2, -0.1), (0.24, 0.5), (0.34, 0.86), (-0.34, 0.86), (-0.24, 0.5)))
    if v.has("ring"):
        yield Outline("ring", s.rounded(-0.36, 0.22, 0.36, 0.44, 0.1))
    top, reach = (0.86, 0.8) if v.is_("cap", "round") else (0.5, 0.98)
    under = [(reach * 0.7, 0.1), (0.0, 0.04), (-reach * 0.7, 0.1)]
    yield Outline("cap", np.concatenate([s.arc(0.0, 0.0, reach, top, 180, 360), s.polygon(*under)]))


LIVING: Mapping[str, Callable[[Variant], Iterator[Outline]]] = {
    "fish": _fish,
    "flower": _flower,
    "tree": _tree,
    "bird": _bird,
    "butterfly": _butterfly,
    "mushroom": _mushroom,
}
