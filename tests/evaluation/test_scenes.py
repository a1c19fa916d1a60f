"""Drawn scenes: what perfect, mixed-up and missing captions are worth."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pdlm_cli.data_engine.attributes import PLAIN
from pdlm_cli.evaluation.breakdown import Breakdown
from pdlm_cli.evaluation.regions import shared_captions, worst_pictures
from pdlm_cli.evaluation.scenes import QUESTION_SORTS, SceneSet
from pdlm_cli.main import main
from tests.evaluation.support import SCENES, judged, swapped


def test_true_captions_get_everything() -> None:
    found = Breakdown.of(judged())
    assert (found.whole.pos, found.whole.neg, found.whole.avg, found.whole.pooled) == (1, 1, 1, 1)
    assert (found.whole.recognised, found.shared) == (1, 0)
    assert (found.whole.missing, found.whole.unparsed, found.whole.recognitions_unparsed) == (0, 0, 0)


def test_captions_of_neighbors_lose_points() -> None:
    true, mixed = judged(), judged(swapped)
    for before, after in zip(true, mixed, strict=True):
        assert after.score.pooled < before.score.pooled
    scores = Breakdown.of(mixed).whole
    assert scores.pos < 0.1
    assert scores.neg < 0.5


def test_the_right_kind_is_asked_for_first() -> None:
    scores = Breakdown.of(judged(lambda captions: ["A thing with a part."] * len(captions))).whole
    assert (scores.recognised, scores.pos, scores.neg) == (0, 0, 0)


def test_missing_captions_count() -> None:
    """One of each picture."""
    regions = judged(lambda captions: [" ", *captions[1:]])
    found = Breakdown.of(regions)
    assert found.whole.missing == SCENES.pictures
    assert found.whole.masks == len(regions)
    share = 1 - SCENES.pictures / len(regions)
    assert (found.whole.pos, found.whole.recognised) == pytest.approx((share, share))
    assert found.whole.neg == pytest.approx(share)
    assert found.shared == 0


def test_captions_that_different_regions_share_are_counted_once_a_picture() -> None:
    same = judged(lambda captions: ["A red car."] * len(captions))
    assert shared_captions(same) == SCENES.pictures
    spelled = judged(lambda captions: ["A red car.", *(["a  RED car. "] * (len(captions) - 1))])
    assert shared_captions(spelled) == SCENES.pictures
    twins = [replace(region, attributes=same[0].attributes) for region in same]
    assert shared_captions(twins) == 0


def test_scenes_and_questions_are_those_of_the_data_command(tmp_path: Path) -> None:
    command = f"data scenes {tmp_path} --count 12 --seed 5 --split test --objects 2-6 --format paradlc --workers 1"
    assert CliRunner().invoke(main, command.split()).exit_code == 0
    regions = judged()
    questions = json.loads((tmp_path / "qa.json").read_text())
    assert {r.key: [question.to_json() for question in r.questions] for r in regions} == questions
    names = json.loads((tmp_path / "class_names.json").read_text())
    assert {region.key: region.attributes.kind for region in regions} == names


def test_the_seed_decides_and_nothing_else() -> None:
    regions = judged(swapped)
    assert judged(swapped, workers=3, batch_size=5, max_regions=2) == regions
    other = judged(swapped, replace(SCENES, seed=6))
    assert {r.expected for r in other} != {r.expected for r in regions}
    assert Breakdown.of(other).whole != Breakdown.of(regions).whole
    training = judged(swapped, replace(SCENES, split="train"))
    assert {r.expected for r in training} != {r.expected for r in regions}


def test_seeds_of_sampling_differ_between_regions_and_runs() -> None:
    regions, other = judged(), judged(scenes=replace(SCENES, seed=6))
    assert len({region.seed for region in regions}) == len(regions)
    assert not {region.seed for region in regions} & {region.seed for region in other}


def test_tables_sum_up() -> None:
    regions = judged(swapped)
    found = Breakdown.of(regions)
    for groups in (found.by_size, found.by_regions):
        parts = [part for part in groups.values() if part.masks]
        assert sum(part.masks for part in parts) == len(regions)
        assert sum(part.pos * part.masks for part in parts) == pytest.approx(found.whole.pos * len(regions))
        negatives = [(part.neg, part.masks_with_negatives) for part in parts if part.neg is not None]
        assert sum(neg * masks for neg, masks in negatives) == pytest.approx(
            found.whole.neg * found.whole.masks_with_negatives
        )
    assert sum(answers.questions for answers in found.by_question.values()) == sum(len(r.questions) for r in regions)
    pooled = sum(sum(region.score.answers) for region in regions)
    sums = [answers.mean * answers.questions for answers in found.by_question.values() if answers.questions]
    assert sum(sums) == pytest.approx(pooled)
    assert set(found.by_regions) == {str(count) for count in {region.neighbors for region in regions}}


def test_questions_are_sorted_by_what_they_ask_for() -> None:
    regions = judged()
    for region in regions:
        parts = region.attributes.parts
        counts = Counter(region.asks)
        assert counts["color"] == sum(bool(part.colors) for part in parts)
        assert counts["pattern"] == sum(part.pattern != PLAIN for part in parts)
        assert counts["material"] == sum(part.material is not None for part in parts)
        assert counts["shape"] == sum(part.shape is not None for part in parts)
        for asked, question in zip(region.asks, region.questions, strict=True):
            assert asked in QUESTION_SORTS
            assert not question.positive or asked in question.choices[0][0]
    found = Breakdown.of(judged(lambda captions: [caption.replace("red", "blue") for caption in captions]))
    assert found.by_question["color"].wrong > 0
    assert found.by_question["shape"].right == found.by_question["shape"].questions > 0


def test_the_worst_pictures_come_first() -> None:
    def tell(captions: list[str]) -> list[str]:
        return swapped(captions) if len(captions) == 2 else captions

    regions = judged(tell)
    pairs = {region.picture for region in regions if region.neighbors == 2}
    worst = worst_pictures(regions, 5)
    assert 0 < len(pairs) < 5
    assert {picture for picture, _ in worst[: len(pairs)]} == pairs
    assert [score for _, score in worst] == sorted(score for _, score in worst)
    assert worst[-1][1] == 1


def test_any_scenes_can_be_evaluated() -> None:
    for level in range(6):
        scenes = SceneSet(pictures=3, seed=1, split="val", level=level, size=96, objects=(1, 1))
        assert Breakdown.of(judged(scenes=scenes)).whole.pos == 1
