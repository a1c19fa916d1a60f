"""Scores of one mask and of many."""

import pytest

from pdlm_cli.evaluation.protocol import Question, Scores, score_mask

POSITIVE = Question("?", (("red", 1), ("nothing", 0), ("wrong", -1), ("half", 0.5)), "positive")
NEGATIVE = Question("?", (("said", -1), ("unsaid", 1)), "negative", "salient negative")
ASKED = [POSITIVE, POSITIVE, NEGATIVE]


def test_a_recognised_mask_has_the_means_of_its_answers() -> None:
    mask = score_mask(ASKED, ["Yes", "red", "half", "said"])
    assert (mask.recognised, mask.pos, mask.neg) == (True, 0.75, -1)
    assert mask.pooled == pytest.approx(0.5 / 3)


def test_what_is_not_recognised_gains_nothing_and_still_loses() -> None:
    mask = score_mask(ASKED, ["no", "red", "wrong", "unsaid"])
    assert (mask.recognised, mask.pos, mask.neg, mask.answers) == (False, -0.5, 0, (0, -1, 0))


def test_masks_without_questions_of_a_sort() -> None:
    assert score_mask([NEGATIVE], ["Yes", "unsaid"]).pos == 0
    assert score_mask([POSITIVE], ["Yes", "red"]).neg is None
    assert score_mask([], ["Yes"]).pooled == 0


def test_unparsed_answers_are_counted_and_gain_nothing() -> None:
    mask = score_mask(ASKED, ["Yes", "who knows", "red", "unsaid"])
    assert (mask.unparsed, mask.pos, mask.recognition_unparsed) == (1, 0.5, False)
    mask = score_mask(ASKED, ["perhaps", "red", "red", "unsaid"])
    assert (mask.recognised, mask.recognition_unparsed, mask.pos, mask.unparsed) == (False, True, 0, 0)


def test_a_missing_caption_counts_as_nothing_gained() -> None:
    mask = score_mask(ASKED, None)
    assert (mask.missing, mask.recognised, mask.pos, mask.neg, mask.pooled) == (True, False, 0, 0, 0)
    assert score_mask([POSITIVE], None).neg is None


def test_scores_are_means_over_masks_not_over_questions() -> None:
    masks = [
        score_mask(ASKED, ["Yes", "red", "red", "said"]),
        score_mask([POSITIVE], ["Yes", "wrong"]),
        score_mask(ASKED, None),
    ]
    scores = Scores.of(masks)
    assert (scores.masks, scores.masks_with_negatives, scores.missing) == (3, 2, 1)
    assert scores.pos == pytest.approx((1 - 1 + 0) / 3)
    assert scores.neg == pytest.approx((-1 + 0) / 2)
    assert scores.avg == pytest.approx((0 - 0.5) / 2)
    assert scores.pooled == pytest.approx((1 / 3 - 1 + 0) / 3)
    assert scores.recognised == pytest.approx(2 / 3)


def test_nothing_has_no_mean() -> None:
    scores = Scores.of([])
    assert (scores.masks, scores.pos, scores.neg, scores.avg, scores.recognised) == (0, None, None, None, None)
    assert Scores.of([score_mask([POSITIVE], ["Yes", "red"])]).avg is None


def test_questions_are_those_of_the_file() -> None:
    for entry in (
        {"question": "?", "choices": [["a", 1], ["b", 0.5]], "type": "positive"},
        {"question": "?", "choices": [["a", -1], ["b", 1]], "type": "negative", "subtype": "negative part"},
    ):
        assert Question.from_json(entry).to_json() == entry
