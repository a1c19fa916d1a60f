"""Scores of a judge's answers, as DLC-Bench and ParaDLC-Bench define them. Pure functions: no judge, no files.

A judge is asked first whether the caption speaks of the right kind of object, then the questions of the mask. The
choice of an answer has a score from -1 to 1. Where the object was not recognised, no answer can gain anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pdlm_cli.evaluation.answers import read_answer

RECOGNITION = ("Yes", "No")  # choices of the first question; the first of them is recognition


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a mask, as `qa.json` has it. choices: text, and score from -1 to 1. sort: positive or negative."""

    text: str
    choices: tuple[tuple[str, float], ...]
    sort: str
    subtype: str | None = None

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "Question":
        choices = tuple((text, score) for text, score in entry["choices"])
        return cls(entry["question"], choices, entry["type"], entry.get("subtype"))

    def to_json(self) -> dict[str, Any]:
        entry = {"question": self.text, "choices": [list(choice) for choice in self.choices], "type": self.sort}
        return entry if self.subtype is None else entry | {"subtype": self.subtype}

    @property
    def positive(self) -> bool:
        return self.sort == "positive"


@dataclass(frozen=True, slots=True)
class MaskScore:
    """What one mask is worth, from -1 to 1.

    missing: there was no caption. pos: mean over the positive questions, 0 if there are none. neg: mean over the
    negative ones, None if there are none. pooled: mean over all, 0 if there are none. answers: the score of each
    question. unparsed: answers that meant no choice. recognition_unparsed: the first one did not.
    """

    recognised: bool
    missing: bool
    pos: float
    neg: float | None
    pooled: float
    answers: tuple[float, ...]
    unparsed: int
    recognition_unparsed: bool


def score_mask(questions: Sequence[Question], responses: Sequence[str] | None) -> MaskScore:
    """Score the judge's answers about one mask.

    responses: the one about recognition, then one a question; None if there is no caption, which gains nothing.
    """
    if responses is None:
        answers = (0.0,) * len(questions)
        return _mask_score(questions, answers, recognised=False, missing=True, unparsed=0, recognition_unparsed=False)
    assert len(responses) == 1 + len(questions)
    recognition = read_answer(responses[0], RECOGNITION)
    recognised = recognition == 0
    chosen = [
        read_answer(response, [text for text, _ in question.choices])
        for question, response in zip(questions, responses[1:], strict=True)
    ]
    scores = [0.0 if index is None else q.choices[index][1] for q, index in zip(questions, chosen, strict=True)]
    return _mask_score(
        questions,
        tuple(score if recognised else min(0.0, score) for score in scores),
        recognised=recognised,
        missing=False,
        unparsed=chosen.count(None),
        recognition_unparsed=recognition is None,
    )


def _mask_score(questions: Sequence[Question], answers: tuple[float, ...], **facts: Any) -> MaskScore:
    positive = [score for question, score in zip(questions, answers, strict=True) if question.positive]
    negative = [score for question, score in zip(questions, answers, strict=True) if not question.positive]
    return MaskScore(
        pos=fmean(positive) if positive else 0.0,
        neg=fmean(negative) if negative else None,
        pooled=fmean(answers) if answers else 0.0,
        answers=answers,
        **facts,
    )


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a set of masks, from -1 to 1; None where there is nothing to take a mean of.

    pos, pooled: means over the masks. neg: mean over the masks with negative questions, of which there are
    `masks_with_negatives`. avg: of pos and neg. recognised: share of the masks. missing: masks without a caption.
    unparsed, recognitions_unparsed: answers of the judge that meant no choice, to questions and about recognition.
    """

    masks: int
    masks_with_negatives: int
    pos: float | None
    neg: float | None
    avg: float | None
    pooled: float | None
    recognised: float | None
    missing: int
    unparsed: int
    recognitions_unparsed: int

    @classmethod
    def of(cls, masks: Iterable[MaskScore]) -> "Scores":
        every = list(masks)
        negatives = [mask.neg for mask in every if mask.neg is not None]
        pos = fmean(mask.pos for mask in every) if every else None
        neg = fmean(negatives) if negatives else None
        return cls(
            masks=len(every),
            masks_with_negatives=len(negatives),
            pos=pos,
            neg=neg,
            avg=None if pos is None or neg is None else (pos + neg) / 2,
            pooled=fmean(mask.pooled for mask in every) if every else None,
            recognised=fmean(mask.recognised for mask in every) if every else None,
            missing=sum(mask.missing for mask in every),
            unparsed=sum(mask.unparsed for mask in every),
            recognitions_unparsed=sum(mask.recognition_unparsed for mask in every),
        )
