"""What came out for each region: a row of regions.parquet."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pyarrow as pa

from pdlm_cli.data_engine.attributes import Attributes
from pdlm_cli.evaluation.protocol import MaskScore, Question
from pdlm_cli.parquet import table_bytes


@dataclass(frozen=True, slots=True)
class JudgedRegion:
    """A region with its caption and what that is worth.

    picture, index: name of the picture, number of the region in it. share: of the picture that the mask covers, 0 to 1.
    neighbors: regions of the picture, this one counted. asks: what each question is about, see scenes.question_sorts.
    found: the caption of the model. seed: of its sampling.
    """

    picture: str
    index: int
    share: float
    neighbors: int
    attributes: Attributes
    expected: str
    found: str
    seed: int
    questions: tuple[Question, ...]
    asks: tuple[str, ...]
    responses: tuple[str, ...]
    score: MaskScore

    @property
    def key(self) -> str:
        """As in `qa.json`."""
        return f"{self.picture}_{self.index}"


def shared_captions(regions: Iterable[JudgedRegion]) -> int:
    """How many captions, counted once a picture, stand at two regions of it that differ in their attributes.

    Upper and lower case and spaces make no other caption; a missing one is none.
    """
    described: dict[tuple[str, str], set[Attributes]] = defaultdict(set)
    for region in regions:
        if not region.score.missing:
            described[region.picture, " ".join(region.found.lower().split())].add(region.attributes)
    return sum(len(attributes) > 1 for attributes in described.values())


def worst_pictures(regions: Iterable[JudgedRegion], count: int) -> list[tuple[str, float]]:
    """Names and scores of the pictures whose regions have the lowest mean of pooled scores, worst first."""
    pooled: dict[str, list[float]] = defaultdict(list)
    for region in regions:
        pooled[region.picture].append(region.score.pooled)
    means = {picture: fmean(scores) for picture, scores in pooled.items()}
    return sorted(means.items(), key=lambda item: (item[1], item[0]))[:count]


def _column(name: str, kind: pa.DataType, description: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


SCHEMA = pa.schema(
    [
        _column("picture", pa.string(), "split, seed and number of the scene"),
        _column("region", pa.int32(), "number of the region in its picture, from 0"),
        _column("kind", pa.string(), "of the object"),
        _column("size_share", pa.float32(), "share of the picture that the mask covers, 0 to 1"),
        _column("regions_in_picture", pa.int32(), "this one counted"),
        _column("expected", pa.string(), "a caption that states all that can be seen"),
        _column("found", pa.string(), "the caption of the model"),
        _column("caption_seed", pa.int64(), "seed of sampling the caption"),
        _column("missing", pa.bool_(), "the caption is blank"),
        _column("recognised", pa.bool_(), "the caption speaks of the right kind of object"),
        _column("pos", pa.float32(), "mean score of the positive questions, -1 to 1; 0 if there are none"),
        _column("neg", pa.float32(), "mean score of the negative questions; null if there are none", nullable=True),
        _column("pooled", pa.float32(), "mean score of all questions, -1 to 1"),
        _column("questions", pa.int32(), "questions judged, recognition not counted"),
    ]
)


def regions_bytes(regions: Sequence[JudgedRegion]) -> bytes:
    """The rows as one Parquet file."""
    return table_bytes(pa.Table.from_pylist([_row(region) for region in regions], SCHEMA))


def _row(region: JudgedRegion) -> dict[str, Any]:
    score = region.score
    return {
        "picture": region.picture,
        "region": region.index,
        "kind": region.attributes.kind,
        "size_share": region.share,
        "regions_in_picture": region.neighbors,
        "expected": region.expected,
        "found": region.found,
        "caption_seed": region.seed,
        "missing": score.missing,
        "recognised": score.recognised,
        "pos": score.pos,
        "neg": score.neg,
        "pooled": score.pooled,
        "questions": len(region.questions),
    }


def judged_json(regions: Iterable[JudgedRegion]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Captions with their judge's answers, and the questions: what `pdlm eval score` reads."""
    predictions: dict[str, Any] = {}
    questions: dict[str, Any] = {}
    for region in regions:
        score = region.score
        predictions[region.key] = {
            "caption": region.found,
            "responses": list(region.responses),
            "recognized": score.recognised,
            "pos": score.pos,
            "neg": score.neg,
            "score": score.pooled,
        }
        questions[region.key] = [question.to_json() for question in region.questions]
    return predictions, questions
