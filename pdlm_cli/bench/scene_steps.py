"""How few steps the small checkpoint needs where a step writes all it is sure of, and what that costs in score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pdlm_cli.engine import load_engine
from pdlm_cli.evaluation.breakdown import Breakdown
from pdlm_cli.evaluation.scenes import SceneSet, evaluate
from pdlm_cli.progress import Progress
from pdlm_cli.report import Report

FULL: Mapping[str, Any] = {"steps": 32, "sampler": "remask"}
ADAPTIVE: Mapping[str, Any] = {"steps": 32}  # what is usual


@dataclass(frozen=True)
class SceneSteps:
    """average: steps that a caption took, ADAPTIVE. score, full_score: averages of the scene benchmark, 0 to 100,
    ADAPTIVE and FULL."""

    average: float
    score: float
    full_score: float
    regions: int

    @property
    def lost(self) -> float:
        """Points."""
        return self.full_score - self.score


def count_steps(pictures: int, device: str, progress: Progress) -> SceneSteps:
    """On the checkpoint that ships, over that many held-out scenes, captioned twice."""
    found = {name: _evaluate(decode, pictures, device, progress) for name, decode in (("f", FULL), ("a", ADAPTIVE))}
    (full, _), (score, speed) = found["f"], found["a"]
    return SceneSteps(speed.denoise_steps / speed.made, score, full, speed.made)


def _evaluate(decode: Mapping[str, Any], pictures: int, device: str, progress: Progress) -> tuple[float, Report]:
    engine = load_engine(None, device, "auto", decode)
    scenes = SceneSet(pictures, 0, "test", 5, engine.tile_size, (2, 6))
    report = Report(max_error_rate=0.0)
    judged = evaluate(
        scenes,
        engine,
        batch_size=engine.batch_size,
        workers=1,
        report=report,
        progress=progress,
        stopped=lambda: False,
    )
    score = Breakdown.of([region for picture in judged for region in picture]).whole.avg
    assert score is not None
    return 100 * score, report
