"""A trained variant before held-out pictures: captions, and what the rule-based judge says of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from model.checkpoint import tensor_shapes
from model.settings import DecodeSettings
from pdlm_cli.ablations.plan import plain_look
from pdlm_cli.ablations.results import Measured
from pdlm_cli.ablations.variants import Look
from pdlm_cli.data_engine.parsing import parse
from pdlm_cli.engine import ModelEngine, load_engine
from pdlm_cli.evaluation.protocol import Scores
from pdlm_cli.evaluation.regions import JudgedRegion, shared_captions
from pdlm_cli.evaluation.scenes import SceneSet, evaluate
from pdlm_cli.progress import open_progress
from pdlm_cli.report import Report

LEVEL, SIZE, SPLIT = 1, 64, "test"  # plain shapes with colors and patterns, in pictures of one tile
BATCH = 16  # passes
EXAMPLES = 6


def measure(
    checkpoint: Path, look: Look, pictures: int, *, console: Console, log_format: str, stopped: Callable[[], bool]
) -> Measured | None:
    """Caption `pictures` held-out pictures, or the look's share of them; None if it was stopped."""
    engine = _engine(checkpoint, look)
    named = plain_look(look, pictures)
    count = named["pictures"]
    scenes = SceneSet(pictures=count, seed=0, split=SPLIT, level=LEVEL, size=SIZE, objects=look.shapes)
    report = Report(max_error_rate=0.0)
    with open_progress(count, log_format, console, doing="looking", unit="pictures") as progress:
        judged = list(
            evaluate(scenes, engine, batch_size=BATCH, workers=1, report=report, progress=progress, stopped=stopped)
        )
    if stopped():
        return None
    return summarised(named, judged, forward_seconds=sum(report.milliseconds.values()) / 1000)


def _engine(checkpoint: Path, look: Look) -> ModelEngine:
    """The checkpoint in fp32 on the CPU, its prompts bound and its passes filled as the look says."""
    settings = DecodeSettings(steps=look.steps, length=look.length, sampler="remask")
    engine = load_engine(str(checkpoint), "cpu", "fp32", settings)
    config = engine.model.config
    assert config.regions is not None
    if look.binding is not None:
        config.regions = config.regions.with_(binding=look.binding)
    return replace(engine, max_regions=min(look.together, engine.max_regions))


def summarised(look: dict[str, Any], judged: Sequence[Sequence[JudgedRegion]], *, forward_seconds: float) -> Measured:
    """judged: the regions of each picture."""
    regions = [region for picture in judged for region in picture]
    scores = Scores.of(region.score for region in regions)
    return Measured(
        look=look,
        scores={
            **{name: _known(getattr(scores, name)) for name in ("avg", "pos", "neg", "pooled", "recognised")},
            "exact": fmean(parse(region.found) == region.attributes for region in regions),
        },
        regions=len(regions),
        repeated=shared_captions(regions),
        forward_seconds=round(forward_seconds, 2),
        pictures=[round(_known(Scores.of(region.score for region in picture).avg), 4) for picture in judged],
        examples=[(region.expected, region.found) for region in regions[:EXAMPLES]],
    )


def _known(score: float | None) -> float:
    """Every region of a scene is asked negative questions too, so that no mean is of nothing."""
    assert score is not None
    return score


def count_parameters(checkpoint: Path) -> int:
    return sum(prod(shape) for _, shape in tensor_shapes(checkpoint))
