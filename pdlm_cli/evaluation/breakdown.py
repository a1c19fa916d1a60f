"""The scores of a run, as a whole and by what may make a region hard."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from pdlm_cli.evaluation.protocol import Scores
from pdlm_cli.evaluation.regions import JudgedRegion, shared_captions, worst_pictures
from pdlm_cli.evaluation.scenes import QUESTION_SORTS

SIZES = (0.05, 0.1, 0.2)  # shares of the picture at which the next band begins
WORST = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """The questions of one sort. right, wrong: how many scored 1 and -1. mean: score, None if there are none.

    The rest was left unsaid, or gained nothing because the object was not recognised.
    """

    questions: int
    right: int
    wrong: int
    mean: float | None

    @classmethod
    def of(cls, scores: Sequence[float]) -> "Answers":
        return cls(len(scores), scores.count(1), scores.count(-1), fmean(scores) if scores else None)


@dataclass(frozen=True)
class Breakdown:
    """shared: captions that two regions of a picture share although they differ (see shared_captions).

    by_size, by_regions: scores of the regions by share of the picture, and by regions in the picture. by_question:
    answers by what was asked for. worst: pictures with their mean pooled score, worst first.
    """

    pictures: int
    whole: Scores
    shared: int
    by_size: Mapping[str, Scores]
    by_regions: Mapping[str, Scores]
    by_question: Mapping[str, Answers]
    worst: Sequence[tuple[str, float]]

    @classmethod
    def of(cls, regions: Sequence[JudgedRegion]) -> "Breakdown":
        counts = sorted({region.neighbors for region in regions})
        return cls(
            pictures=len({region.picture for region in regions}),
            whole=Scores.of(region.score for region in regions),
            shared=shared_captions(regions),
            by_size=_grouped(regions, size_labels(), lambda region: size_label(region.share)),
            by_regions=_grouped(regions, map(str, counts), lambda region: str(region.neighbors)),
            by_question={sort: Answers.of(_answers(regions, sort)) for sort in QUESTION_SORTS},
            worst=worst_pictures(regions, WORST),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "pictures": self.pictures,
            **asdict(self.whole),
            "shared_captions": self.shared,
            "by_size": {label: asdict(scores) for label, scores in self.by_size.items()},
            "by_regions_in_picture": {label: asdict(scores) for label, scores in self.by_regions.items()},
            "by_question": {sort: asdict(answers) for sort, answers in self.by_question.items()},
            "worst": [{"picture": picture, "pooled": score} for picture, score in self.worst],
        }


def size_labels() -> list[str]:
    limits = [f"{100 * limit:.0f}" for limit in SIZES]
    between = [f"{low} to {high} %" for low, high in pairwise(limits)]
    return [f"under {limits[0]} %", *between, f"{limits[-1]} % and more"]


def size_label(share: float) -> str:
    """share: of the picture, 0 to 1."""
    return size_labels()[sum(share >= limit for limit in SIZES)]


def _grouped(
    regions: Sequence[JudgedRegion], labels: Iterable[str], label_of: Callable[[JudgedRegion], str]
) -> dict[str, Scores]:
    return {label: Scores.of(region.score for region in regions if label_of(region) == label) for label in labels}


def _answers(regions: Sequence[JudgedRegion], sort: str) -> list[float]:
    return [
        score
        for region in regions
        for asked, score in zip(region.asks, region.score.answers, strict=True)
        if asked == sort
    ]
