"""Questions about a whole picture, each with its one right answer. Where two answers could be argued for, none is
asked: places must be clearly apart, and what is named must be named by nothing else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import dist

import numpy as np

from pdlm_cli.data_engine.attributes import COLOR_NAMES, PLAIN, Part
from pdlm_cli.data_engine.captions import indefinite
from pdlm_cli.data_engine.choice import chance, pick, shuffled
from pdlm_cli.data_engine.kinds import Kind
from pdlm_cli.data_engine.objects import SceneObject

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MOST_QUESTIONS = 4  # about one picture
APART = 0.06  # of the picture's width, between two objects of which one is called further left
DESCRIBE = "Describe the {}."
WHOLE = "description of all", "what is there"  # sorts of `whole`
NEARER = 0.6  # of the distance to the next one, for what is called closest


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class View:
    """What questions are made of. kinds: those that the picture could hold."""

    objects: Sequence[SceneObject]
    width: int
    kinds: Sequence[Kind]

    def named(self, kind: Kind) -> list[SceneObject]:
        return [item for item in self.objects if item.kind is kind]

    def extreme(self, items: Sequence[SceneObject], side: str) -> SceneObject | None:
        """The leftmost or rightmost item, if it clearly is the one."""
        ordered = sorted(items, key=lambda item: item.center[0], reverse=side == "rightmost")
        if len(ordered) > 1 and abs(ordered[0].center[0] - ordered[1].center[0]) < APART * self.width:
            return None
        return ordered[0]

    def references(self) -> list[tuple[str, SceneObject]]:
        """Names that mean one object only: "house", "leftmost car"."""
        names = []
        for kind in dict.fromkeys(item.kind for item in self.objects):
            same = self.named(kind)
            if len(same) == 1:
                names.append((kind.name, same[0]))
                continue
            for side in ("leftmost", "rightmost"):
                item = self.extreme(same, side)
                if item is not None:
                    names.append((f"{side} {kind.name}", item))
        return names


def ask(rng: np.random.Generator, view: View) -> tuple[Question, ...]:
    """Up to MOST_QUESTIONS questions, all of different sorts."""
    asked = []
    for sort in shuffled(rng, tuple(SORTS.values())):
        question = next(sort(rng, view), None)
        if question is not None:
            asked.append(question)
        if len(asked) == MOST_QUESTIONS:
            break
    return tuple(asked)


def each_sort(rng: np.random.Generator, view: View) -> Iterator[tuple[str, Question]]:
    """A question of each of SORTS that the picture allows and those of `whole`, each after the name of its sort."""
    for name, sort in SORTS.items():
        question = next(sort(rng, view), None)
        if question is not None:
            yield name, question
    yield from zip(WHOLE, whole(view), strict=True)


def descriptions(view: View) -> list[Question]:
    """For the caption of each object that can be named."""
    return [Question(DESCRIBE.format(name), item.caption) for name, item in view.references()]


def whole(view: View) -> list[Question]:
    """For all that is in the picture, from left to right: the captions, and the names alone."""
    items = sorted(view.objects, key=lambda item: item.center[0])
    names = [indefinite(item.kind.name) for item in items]
    return [
        Question("Describe the picture.", " ".join(item.caption for item in items)),
        Question("What is in the picture?", ", ".join(names)),
    ]


def said_of(part: Part) -> str:
    """Colors and pattern as an answer: "red", "striped in red and white", "red with white dots"."""
    if part.pattern == PLAIN:
        return part.colors[0]
    if part.pattern == "dotted":
        return f"{part.colors[0]} with {part.colors[1]} dots"
    return f"{part.pattern} in {part.colors[0]} and {part.colors[1]}"


# --- sorts of questions: each gives one, or none if the picture allows none


def _how_many(rng: np.random.Generator, view: View) -> Iterator[Question]:
    yield Question("How many objects are there?", NUMBERS[len(view.objects)])


def _how_many_of(rng: np.random.Generator, view: View) -> Iterator[Question]:
    kind = pick(rng, view.objects).kind if chance(rng, 0.8) else pick(rng, view.kinds)
    yield Question(f"How many {kind.plural} are there?", NUMBERS[len(view.named(kind))])


def _at_the_side(rng: np.random.Generator, view: View) -> Iterator[Question]:
    side = pick(rng, ("leftmost", "rightmost"))
    item = view.extreme(view.objects, side)
    if item is not None and len(view.objects) > 1:
        yield Question(f"What is the {side} object?", indefinite(item.kind.name))


def _looks(rng: np.random.Generator, view: View) -> Iterator[Question]:
    for name, item in shuffled(rng, view.references()):
        part = pick(rng, item.attributes.parts)
        verb = "do" if item.kind.part(part.name).plural else "does"
        yield Question(f"What {verb} {_the_part(name, item, part)} look like?", said_of(part))


def _color(rng: np.random.Generator, view: View) -> Iterator[Question]:
    for name, item in shuffled(rng, view.references()):
        plain = [part for part in item.attributes.parts if part.pattern == PLAIN]
        if plain:
            part = pick(rng, plain)
            verb = "are" if item.kind.part(part.name).plural else "is"
            yield Question(f"What color {verb} {_the_part(name, item, part)}?", part.colors[0])


def _is_it(rng: np.random.Generator, view: View) -> Iterator[Question]:
    """A wrong color is one that another object has there, if there is one."""
    for name, item in shuffled(rng, view.references()):
        plain = [part for part in item.attributes.parts if part.pattern == PLAIN]
        if plain:
            part = pick(rng, plain)
            verb = "Are" if item.kind.part(part.name).plural else "Is"
            color, answer = part.colors[0], "yes"
            if chance(rng, 0.5):
                nearby = [p.colors[0] for other in view.objects for p in other.attributes.parts]
                nearby = [other for other in nearby if other != color]
                answer = "no"
                color = pick(rng, nearby or [other for other in COLOR_NAMES if other != color])
            yield Question(f"{verb} {_the_part(name, item, part)} {color}?", answer)


def _is_there(rng: np.random.Generator, view: View) -> Iterator[Question]:
    """By kind, or by kind and main color: then of a kind that is there."""
    if chance(rng, 0.4):
        kind = pick(rng, view.objects).kind if chance(rng, 0.5) else pick(rng, view.kinds)
        yield Question(f"Is there {indefinite(kind.name)}?", "yes" if view.named(kind) else "no")
        return
    item = pick(rng, view.objects)
    main = item.attributes.parts[0]
    if main.pattern != PLAIN:
        return
    color, answer = main.colors[0], "yes"
    if chance(rng, 0.5):
        here = {color for other in view.named(item.kind) for color in other.attributes.parts[0].colors}
        color, answer = pick(rng, [color for color in COLOR_NAMES if color not in here]), "no"
    yield Question(f"Is there {indefinite(f'{color} {item.kind.name}')}?", answer)


def _closest(rng: np.random.Generator, view: View) -> Iterator[Question]:
    for name, item in shuffled(rng, view.references()):
        others = sorted(
            (other for other in view.objects if other is not item), key=lambda other: dist(other.center, item.center)
        )
        if not others:
            return
        reach = dist(others[0].center, item.center)
        if len(others) == 1 or reach < NEARER * dist(others[1].center, item.center):
            found = others[0].kind
            answer = f"another {found.name}" if found is item.kind else indefinite(found.name)
            yield Question(f"What is closest to the {name}?", answer)


def _left_of(rng: np.random.Generator, view: View) -> Iterator[Question]:
    names = shuffled(rng, view.references())
    for (first, one), (second, other) in pairwise(names):
        if abs(one.center[0] - other.center[0]) >= APART * view.width and one.kind is not other.kind:
            answer = "yes" if one.center[0] < other.center[0] else "no"
            yield Question(f"Is the {first} to the left of the {second}?", answer)


def _description(rng: np.random.Generator, view: View) -> Iterator[Question]:
    yield from shuffled(rng, descriptions(view))


def _the_part(name: str, item: SceneObject, part: Part) -> str:
    return f"the {name}" if part.name == item.kind.name else f"the {part.name} of the {name}"


SORTS: Mapping[str, Callable[[np.random.Generator, View], Iterator[Question]]] = {
    "how many": _how_many,
    "how many of a kind": _how_many_of,
    "at the side": _at_the_side,
    "looks of a part": _looks,
    "color of a part": _color,
    "is it that color": _is_it,
    "is there one": _is_there,
    "closest": _closest,
    "left of": _left_of,
    "description": _description,
}
