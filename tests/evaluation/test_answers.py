"""The rules by which a judge's answer is read, one after the other."""

import pytest

from pdlm_cli.evaluation.answers import read_answer

ROOF = [
    "The roof is mentioned and it is red.",
    "The roof is not mentioned.",
    "The roof is mentioned but it is not red.",
    "The color is not mentioned, but the roof is mentioned.",
]
NESTED = ["A door", "A door with a window", "A window"]


@pytest.mark.parametrize(
    ("answer", "choices", "index"),
    [
        # 1
        ("The roof is not mentioned.", ROOF, 1),
        ("  THE ROOF IS NOT MENTIONED.\n", ROOF, 1),
        ("d. The color is not mentioned, but the roof is mentioned.", ROOF, 3),
        ("C", ROOF, 2),
        ("A door", NESTED, 0),  # also inside another choice
        # 2
        ("I think: the roof is not mentioned. Yes.", ROOF, 1),
        ("A. Really, it says the roof is not mentioned.", ROOF, 1),  # the choice, not the letter
        # 3
        ("B. It does not speak of it", ROOF, 1),
        ("A. A door, no, a window", NESTED, 0),
        # 4
        ("The roof is mentioned and it is red. / The roof is not mentioned.", ROOF, 1),
        ("it has a door with a window", NESTED, 2),
        ("a window, or rather a door with a view", NESTED, 0),
        ("a dooring", ["A door", "A doo", "A window"], 0),  # both start together
        # 5
        ("not mentioned", ROOF, 3),
        ("is mentioned but it", ROOF, 2),
        # 6
        ("B\nbecause nothing is said of it", ROOF, 1),
        # 7
        ("I am not sure", ROOF, None),
        ("E", ["x", "y"], None),
        ("C\nas it has no third choice", ["x", "y"], None),
        ("", ROOF, None),
        (" \n", ROOF, None),
    ],
)
def test_answers_are_read_by_the_first_rule_that_applies(answer: str, choices: list[str], index: int | None) -> None:
    assert read_answer(answer, choices) == index
