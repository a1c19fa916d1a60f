"""Questions in ParaDLC-Bench's form, and the rule-based judge of them."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from pdlm_cli.data_engine.benchmark import benchmark_questions
from pdlm_cli.data_engine.judge import choose, recognised
from tests.data_engine.support import everything, scenes

# The only shapes that the published qa.json has: the keys, and the scores of the choices in order.
SHAPES = {
    ("positive", None): [1, 0, -1, 0.5],
    ("negative", "salient negative"): [-1, 1],
    ("negative", "negative part"): [-1, 0, 1],
}


def judged(caption: str, question: dict[str, Any]) -> float:
    texts, scores = zip(*question["choices"], strict=True)
    return float(scores[choose(caption, texts)])


def test_questions_have_the_published_shape() -> None:
    seen: Counter[tuple[str, str | None]] = Counter()
    for scene in everything():
        for index in range(len(scene.objects)):
            for asked in benchmark_questions(scene.objects, index, np.random.default_rng(index)):
                sort = asked["type"], asked.get("subtype")
                assert set(asked) == {"question", "choices", "type"} | ({"subtype"} if sort[1] else set())
                assert asked["question"] == "Which of the following is applicable to the description?"
                assert [score for _, score in asked["choices"]] == SHAPES[sort]
                assert all(text.endswith(".") for text, _ in asked["choices"])
                assert len({text for text, _ in asked["choices"]}) == len(asked["choices"])
                seen[sort] += 1
    assert seen.keys() == SHAPES.keys()


def test_the_caption_of_an_object_answers_all_of_its_questions() -> None:
    for scene in everything():
        for index, item in enumerate(scene.objects):
            assert recognised(item.caption, item.kind.name)
            for asked in benchmark_questions(scene.objects, index, np.random.default_rng(index)):
                assert judged(item.caption, asked) == 1, (item.caption, asked)


def test_every_attribute_in_sight_is_asked_for() -> None:
    for scene in scenes():
        for index, item in enumerate(scene.objects):
            asked = benchmark_questions(scene.objects, index, np.random.default_rng(0))
            positive = sum(question["type"] == "positive" for question in asked)
            known = [(1, p.pattern != "plain", bool(p.material), bool(p.shape)) for p in item.attributes.parts]
            assert positive == sum(map(sum, known))


def test_the_caption_of_a_neighbor_loses_points() -> None:
    """Mixing two objects up must cost: every question about the other region is answered wrong by some neighbor."""
    scores: list[float] = []
    for scene in scenes():
        for index in range(len(scene.objects)):
            for asked in benchmark_questions(scene.objects, index, np.random.default_rng(index)):
                others = [other.caption for i, other in enumerate(scene.objects) if i != index]
                if asked.get("subtype") == "salient negative":
                    assert min(judged(caption, asked) for caption in others) == -1, asked
                elif asked["type"] == "positive":
                    scores += [judged(caption, asked) for caption in others]
    assert np.mean(scores) < 0


@pytest.mark.parametrize(
    ("caption", "scores"),
    [
        ("A red house with a pointed blue roof.", [1, 1, 1, 1]),
        ("A red house with a pointed green roof.", [1, -1, 1, 1]),
        ("A house with a roof.", [0, 0.5, 0.5, 1]),
        ("A house with walls.", [0.5, 0, 0, 1]),
        ("A red car.", [0, 0, 0, 0]),
        ("A red and white striped house with a chimney.", [-1, 0, 0, -1]),
        ("", [0, 0, 0, 0]),
    ],
)
def test_captions_that_miss_something(caption: str, scores: list[float]) -> None:
    def positive(attribute: str, part: str, value: str) -> dict[str, Any]:
        said = f"The {attribute} of the house's {part} is mentioned in the description"
        return {
            "choices": [
                (f"{said} and it is {value}.", 1),
                (f"The house or its {part} is not mentioned.", 0),
                (f"{said} but it is not {value}.", -1),
                (f"The {attribute} is not mentioned, but the house's {part} is mentioned.", 0.5),
            ]
        }

    questions = [
        positive("color", "walls", "red"),
        positive("color", "roof", "blue"),
        positive("shape", "roof", "pointed"),
        {
            "choices": [
                ("A chimney of the house is mentioned in the description.", -1),
                ("The house is not mentioned in the description.", 0),
                ("A chimney of the house is not mentioned in the description.", 1),
            ]
        },
    ]
    assert [judged(caption, question) for question in questions] == scores


def test_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="not a question"):
        choose("A red car.", ["The person's pose is mentioned in the description and he is standing upright."] * 4)
