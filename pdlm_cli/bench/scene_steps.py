"""What faster ways cost the small checkpoint on drawn scenes: few steps, each of which writes all it is sure of;
keys and values that are kept once a token is written."""

from dataclasses import dataclass

from model.settings import DecodeSettings
from pdlm_cli.engine import load_engine
from pdlm_cli.evaluation.breakdown import Breakdown
from pdlm_cli.evaluation.scenes import SceneSet, evaluate
from pdlm_cli.progress import Progress
from pdlm_cli.report import Report

FULL = DecodeSettings(steps=32, sampler="remask")
ADAPTIVE = DecodeSettings(steps=32)  # what is usual
DELAYED = DecodeSettings(steps=32, sampler="topk", cache="delayed")


@dataclass(frozen=True)
class SceneSteps:
    """average: steps that a caption took, ADAPTIVE. score, full_score, delayed_score: averages of the scene benchmark,
    0 to 100, ADAPTIVE, FULL and DELAYED."""

    average: float
    score: float
    full_score: float
    delayed_score: float
    regions: int

    @property
    def lost(self) -> float:
        """Points, ADAPTIVE."""
        return self.full_score - self.score

    @property
    def lost_by_delay(self) -> float:
        """Points, DELAYED."""
        return self.full_score - self.delayed_score


def count_steps(pictures: int, device: str, progress: Progress) -> SceneSteps:
    """On the checkpoint that ships, over that many held-out scenes, captioned three times."""
    full, adaptive, delayed = (_evaluate(decode, pictures, device, progress) for decode in (FULL, ADAPTIVE, DELAYED))
    score, speed = adaptive
    return SceneSteps(speed.denoise_steps / speed.made, score, full[0], delayed[0], speed.made)


def _evaluate(decode: DecodeSettings, pictures: int, device: str, progress: Progress) -> tuple[float, Report]:
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
