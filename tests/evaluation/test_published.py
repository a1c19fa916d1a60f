"""Recorded judge answers of both benchmarks: BENCHMARKS=FOLDER make test PYTEST_ARGS="-m benchmarks".

The files are not ours to ship. FOLDER holds their public releases, `paradlc/qa.json` and `dlc/qa.json`, and beside them
answers of judges, `dlc/dam_3b_judged.json` and, in the folder `golden` next to FOLDER, `paradlc_scoring.json`.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pdlm_cli.evaluation.answers import read_answer
from pdlm_cli.evaluation.judged import score_file
from pdlm_cli.evaluation.protocol import RECOGNITION, Question, Scores, score_mask

pytestmark = pytest.mark.benchmarks


@pytest.fixture
def benchmarks() -> Path:
    return Path(os.environ["BENCHMARKS"])


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_scores_of_the_published_model_on_dlc_bench(benchmarks: Path) -> None:
    judged, questions = benchmarks / "dlc/dam_3b_judged.json", benchmarks / "dlc/qa.json"
    found = score_file(judged, questions)
    for key, stored in load(judged).items():
        mask = found[key]
        assert mask.recognised == stored["recognized"]
        assert (mask.pos, mask.neg, mask.pooled) == pytest.approx((stored["pos"], stored["neg"], stored["score"]))
    scores = Scores.of(found.values())
    assert scores.masks == 100
    assert (round(scores.pos, 4), round(scores.neg, 4), round(scores.avg, 4)) == (0.5102, 0.8300, 0.6701)
    assert (scores.missing, scores.unparsed, scores.recognitions_unparsed) == (0, 0, 0)


def test_answers_of_many_spellings_on_paradlc_bench(benchmarks: Path) -> None:
    questions = load(benchmarks / "paradlc/qa.json")
    cases = load(benchmarks.parent / "golden/paradlc_scoring.json")["cases"]
    assert len(cases) == 100
    for case in cases:
        asked = [Question.from_json(entry) for entry in questions[case["key"]]]
        choices = [RECOGNITION, *([text for text, _ in question.choices] for question in asked)]
        read = [read_answer(answer, texts) for answer, texts in zip(case["responses"], choices, strict=True)]
        assert read == case["choice_index"]
        mask = score_mask(asked, case["responses"])
        assert mask.recognised == case["recognized"]
        assert mask.unparsed == case["choice_index"].count(None)
        assert (mask.pos, mask.neg, mask.pooled) == pytest.approx((case["pos"], case["neg"], case["score"]))


def test_pos_of_perfect_captions_stays_below_one_on_paradlc_bench(benchmarks: Path) -> None:
    """Twelve masks have no positive question."""
    masks = []
    for entries in load(benchmarks / "paradlc/qa.json").values():
        asked = [Question.from_json(entry) for entry in entries]
        best = [max(question.choices, key=lambda choice: choice[1])[0] for question in asked]
        masks.append(score_mask(asked, ["Yes", *best]))
    scores = Scores.of(masks)
    assert (scores.masks, round(100 * scores.pos, 2), scores.neg) == (299, 95.99, 1)
