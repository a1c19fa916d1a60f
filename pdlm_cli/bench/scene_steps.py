"""How few steps the small checkpoint needs where a step writes all it is sure of, and what that costs in score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pdlm_cli.engine import ModelEngine, PassFailure, PassResult, load_engine
from pdlm_cli.evaluation.breakdown import Breakdown
from pdlm_cli.evaluation.regions import JudgedRegion
from pdlm_cli.evaluation.scenes import SceneSet, evaluate
from pdlm_cli.progress import Progress
from pdlm_cli.report import Report

FULL: Mapping[str, Any] = {"steps": 32, "sampler": "remask"}
ADAPTIVE: Mapping[str, Any] = {"steps": 32, "sampler": "threshold", "threshold": 0.9}


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


class _Counting:
    """An engine that remembers the steps of every caption."""

    def __init__(self, engine: ModelEngine) -> None:
        self._engine = engine
        self.steps: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def caption(self, passes: Sequence[Any]) -> list[PassResult]:
        results = self._engine.caption(passes)
        for result in results:
            assert not isinstance(result, PassFailure)
            self.steps += [caption.denoise_steps for caption in result.captions]
        return results


def count_steps(pictures: int, device: str, progress: Progress) -> SceneSteps:
    """On the checkpoint that ships, over that many held-out scenes, captioned twice."""
    found = {name: _evaluate(decode, pictures, device, progress) for name, decode in (("f", FULL), ("a", ADAPTIVE))}
    (full, _), (score, steps) = found["f"], found["a"]
    return SceneSteps(fmean(steps), score, full, len(steps))


def _evaluate(decode: Mapping[str, Any], pictures: int, device: str, progress: Progress) -> tuple[float, list[int]]:
    engine = load_engine(None, device, "auto", decode)
    counting: Any = _Counting(engine)
    scenes = SceneSet(pictures, 0, "test", 5, engine.tile_size, (2, 6))
    regions: list[JudgedRegion] = []
    for judged in evaluate(
        scenes,
        counting,
        batch_size=engine.batch_size,
        workers=1,
        report=Report(max_error_rate=0.0),
        progress=progress,
        stopped=lambda: False,
    ):
        regions += judged
    score = Breakdown.of(regions).whole.avg
    assert score is not None
    return 100 * score, counting.steps
