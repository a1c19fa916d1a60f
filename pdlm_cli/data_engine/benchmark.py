"""Questions about the caption of one object, in the form of ParaDLC-Bench's `qa.json`.

Three sorts, each with its scores in a fixed order: what should be said (a part's color, pattern, material or shape),
parts that the object lacks, and things that are true of another object of the picture only. The wording is regular,
so that judge.py can answer them from the words of a caption; a language model can as well.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pdlm_cli.data_engine.attributes import PLAIN, Part
from pdlm_cli.data_engine.captions import indefinite
from pdlm_cli.data_engine.choice import shuffled
from pdlm_cli.data_engine.kinds import THINGS, Kind
from pdlm_cli.data_engine.objects import SceneObject

QUESTION = "Which of the following is applicable to the description?"
ABSENT_PARTS, OTHER_REGIONS = 2, 2  # questions of these sorts about one object, at most


def benchmark_questions(objects: Sequence[SceneObject], index: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The questions about object `index` of a scene, as JSON: positive, absent parts, other regions."""
    item = objects[index]
    kind, attributes = item.kind, item.attributes
    questions = [_positive(kind, part, name, value) for part in attributes.parts for name, value in said_of(part)]
    absent = shuffled(rng, list(_absent_parts(item)))
    questions += [_negative_part(kind, noun, plural) for noun, plural in absent[:ABSENT_PARTS]]
    others = [*objects[:index], *objects[index + 1 :]]
    claims = dict.fromkeys(
        claim
        for other in sorted(others, key=lambda other: other.kind is not kind)
        for claim in shuffled(rng, list(_only_true_of(other, item)))[:1]
    )
    return questions + [_salient_negative(phrase, plural) for phrase, plural in list(claims)[:OTHER_REGIONS]]


def said_of(part: Part) -> Iterator[tuple[str, str]]:
    """Each attribute that is known of a part, with its value in words."""
    if part.colors:
        yield "color", " and ".join(part.colors)
    if part.pattern != PLAIN:
        yield "pattern", part.pattern
    if part.material is not None:
        yield "material", part.material
    if part.shape is not None:
        yield "shape", part.shape


def _positive(kind: Kind, part: Part, attribute: str, value: str) -> dict[str, Any]:
    if part.name == kind.name:
        owner, nobody, verb = f"the {kind.name}", f"The {kind.name} is", "is"
    else:
        verb = "are" if kind.part(part.name).plural else "is"
        owner = f"the {kind.name}'s {part.name}"
        nobody = f"The {kind.name} or its {part.name} {verb}"
    said = f"The {attribute} of {owner} is mentioned in the description"
    choices: list[tuple[str, float]] = [
        (f"{said} and it is {value}.", 1),
        (f"{nobody} not mentioned.", 0),
        (f"{said} but it is not {value}.", -1),
        (f"The {attribute} is not mentioned, but {owner} {verb} mentioned.", 0.5),
    ]
    return _question(choices, "positive")


def _absent_parts(item: SceneObject) -> Iterator[tuple[str, bool]]:
    """Noun and plural of what the kind may have and this one lacks; where there is none, of what another kind has."""
    kind = item.kind
    drawn = {part.name for part in item.attributes.parts} | {*item.hidden}
    missing = [part for part in kind.parts if part.name not in drawn]
    if not missing:
        own = {part.name for part in kind.parts}
        missing = [part for other in THINGS if other is not kind for part in other.parts if part.name not in own]
    for part in missing:
        yield part.name, part.plural


def _negative_part(kind: Kind, noun: str, plural: bool) -> dict[str, Any]:
    subject = f"{noun} of the {kind.name}" if plural else f"{indefinite(noun)} of the {kind.name}"
    subject, verb = subject[0].upper() + subject[1:], "are" if plural else "is"
    choices: list[tuple[str, float]] = [
        (f"{subject} {verb} mentioned in the description.", -1),
        (f"The {kind.name} is not mentioned in the description.", 0),
        (f"{subject} {verb} not mentioned in the description.", 1),
    ]
    return _question(choices, "negative", "negative part")


def _only_true_of(other: SceneObject, item: SceneObject) -> Iterator[tuple[str, bool]]:
    """Phrases, "red roof", and whether plural, that fit `other` and could not be said of `item`."""
    if other.kind is not item.kind:
        yield other.kind.name, False
    for part in other.attributes.parts:
        if part.name in item.hidden:
            continue
        own = item.attributes.part(part.name)
        plural = other.kind.part(part.name).plural
        if part.pattern == PLAIN and (own is None or part.colors[0] not in own.colors):
            yield f"{part.colors[0]} {part.name}", plural
        elif part.pattern != PLAIN and (own is None or own.pattern != part.pattern):
            yield f"{part.pattern} {part.name}", plural


def _salient_negative(phrase: str, plural: bool) -> dict[str, Any]:
    verb = "are" if plural else "is"
    choices: list[tuple[str, float]] = [
        (f"The {phrase} {verb} mentioned in the description.", -1),
        (f"The {phrase} {verb} not mentioned in the description.", 1),
    ]
    return _question(choices, "negative", "salient negative")


def _question(choices: list[tuple[str, float]], sort: str, subtype: str | None = None) -> dict[str, Any]:
    asked = {"question": QUESTION, "choices": [list(choice) for choice in choices], "type": sort}
    return asked if subtype is None else asked | {"subtype": subtype}
