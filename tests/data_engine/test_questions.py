"""Every question about a picture has one right answer: found here by looking at the objects, not by asking again."""

import re
from collections import Counter
from itertools import permutations
from math import dist

import pytest

from pdlm_cli.data_engine.kinds import KINDS
from pdlm_cli.data_engine.objects import SceneObject
from pdlm_cli.data_engine.questions import APART, MOST_QUESTIONS, NEARER, NUMBERS
from pdlm_cli.data_engine.scene import Scene
from tests.data_engine.support import everything

SINGULAR = {kind.plural: kind.name for kind in KINDS.values()}


def the_one(scene: Scene, name: str) -> SceneObject:
    """The only object that "house" or "leftmost car" can mean."""
    side, _, kind = name.rpartition(" ")
    found = [item for item in scene.objects if item.kind.name == kind or kind == "object"]
    if side:
        found.sort(key=lambda item: item.center[0], reverse=side == "rightmost")
        if len(found) > 1:
            assert abs(found[0].center[0] - found[1].center[0]) >= APART * scene.picture.shape[1]
    else:
        assert len(found) == 1
    return found[0]


def looks(item: SceneObject, name: str) -> str:
    [part] = [part for part in item.attributes.parts if part.name == name]
    if part.pattern == "plain":
        return part.colors[0]
    if part.pattern == "dotted":
        return f"{part.colors[0]} with {part.colors[1]} dots"
    return f"{part.pattern} in {part.colors[0]} and {part.colors[1]}"


def owner_and_part(scene: Scene, phrase: str) -> tuple[SceneObject, str]:
    match = re.fullmatch(r"the (?:(\w+) of the )?((?:leftmost |rightmost )?\w+)", phrase)
    assert match, phrase
    item = the_one(scene, match[2])
    return item, match[1] or item.kind.name


def right_answer(scene: Scene, text: str) -> str:
    if text == "How many objects are there?":
        return NUMBERS[len(scene.objects)]
    if match := re.fullmatch(r"How many (\w+) are there\?", text):
        return NUMBERS[sum(item.kind.name == SINGULAR[match[1]] for item in scene.objects)]
    if match := re.fullmatch(r"What is the (leftmost|rightmost) object\?", text):
        return article(the_one(scene, f"{match[1]} object").kind.name)
    if match := re.fullmatch(r"What (?:does|do) (.+) look like\?", text):
        return looks(*owner_and_part(scene, match[1]))
    if match := re.fullmatch(r"What color (?:is|are) (.+)\?", text):
        return looks(*owner_and_part(scene, match[1]))
    if match := re.fullmatch(r"Is there an? (?:(\w+) )?(\w+)\?", text):
        same = [item for item in scene.objects if item.kind.name == match[2]]
        if match[1] is None:
            return "yes" if same else "no"
        mains = [item.attributes.parts[0] for item in same]
        if any(part.colors == (match[1],) for part in mains):
            return "yes"
        assert all(match[1] not in part.colors for part in mains), "half of a pattern is neither yes nor no"
        return "no"
    if match := re.fullmatch(r"What is closest to the (.+)\?", text):
        item = the_one(scene, match[1])
        others = sorted((o for o in scene.objects if o is not item), key=lambda o: dist(o.center, item.center))
        if len(others) > 1:
            assert dist(others[0].center, item.center) < NEARER * dist(others[1].center, item.center)
        same_kind = others[0].kind is item.kind
        return f"another {others[0].kind.name}" if same_kind else article(others[0].kind.name)
    if match := re.fullmatch(r"Is the (.+) to the left of the (.+)\?", text):
        first, second = the_one(scene, match[1]).center[0], the_one(scene, match[2]).center[0]
        assert abs(first - second) >= APART * scene.picture.shape[1]
        return "yes" if first < second else "no"
    if match := re.fullmatch(r"Describe the (.+)\.", text):
        return the_one(scene, match[1]).caption
    match = re.fullmatch(r"(?:Is|Are) (the .+) (\w+)\?", text)
    assert match, text
    return "yes" if looks(*owner_and_part(scene, match[1])) == match[2] else "no"


def article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def test_every_answer_is_the_right_one() -> None:
    asked = 0
    for scene in everything():
        assert 1 <= len(scene.questions) <= MOST_QUESTIONS
        assert len({question.text for question in scene.questions}) == len(scene.questions)
        for question in scene.questions:
            assert question.answer == right_answer(scene, question.text), question
            asked += 1
    assert asked > 600


def test_a_bit_of_everything_is_asked_and_yes_is_as_likely_as_no() -> None:
    questions = [question for scene in everything() for question in scene.questions]
    openings = Counter(" ".join(question.text.split()[:2]) for question in questions)
    assert {"How many", "What is", "What color", "Is there", "Is the"} <= openings.keys()
    answers = Counter(question.answer for question in questions)
    assert answers["yes"] / (answers["yes"] + answers["no"]) == pytest.approx(0.5, abs=0.12)


def test_words_for_numbers_reach_as_far_as_scenes_do() -> None:
    assert len(NUMBERS) == 11
    assert all(a != b for a, b in permutations(NUMBERS, 2))
