"""Scenes of an evaluation, and an engine that says what a test wants it to say."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from model.settings import DecodeSettings
from pdlm_cli.evaluation.job import SceneEvalJob
from pdlm_cli.evaluation.regions import JudgedRegion
from pdlm_cli.evaluation.scenes import SceneSet, evaluate
from pdlm_cli.report import Report

SCENES = SceneSet(pictures=12, seed=5, split="test", level=5, size=128, objects=(2, 6))


def job_of(output: Path, scenes: SceneSet, model: Path | None = None) -> SceneEvalJob:
    """An evaluation of these scenes on the CPU, two pictures or passes at a time."""
    return SceneEvalJob(
        **asdict(scenes),
        model=None if model is None else str(model),
        device="cpu",
        dtype="fp32",
        quantize=None,
        decode=DecodeSettings(),
        batch_size=2,
        workers=1,
        output=output,
        overwrite=False,
    )


def truth(captions: list[str]) -> list[str]:
    return captions


def swapped(captions: list[str]) -> list[str]:
    """Each region gets the caption of the next one."""
    return captions[1:] + captions[:1]


@dataclass
class TellingEngine:
    """Stands for a model. tell: true captions of a picture, in the order of its regions, to the captions it writes."""

    scenes: SceneSet
    tell: Callable[[list[str]], list[str]] = truth
    max_regions: int = 6
    tile_size: int = 128
    batch_size: int = 4
    parallel: int = 1
    incidents: dict[str, int] = field(default_factory=dict)
    busy: tuple[tuple[str, float], ...] = ()
    model_sha256: str = "0" * 64
    facts: dict[str, str] = field(default_factory=lambda: {"model": "oracle", "dtype": "fp32", "weights": "trained"})

    def __post_init__(self) -> None:
        self._said: dict[bytes, str] = {}
        for index in range(self.scenes.pictures):
            scene = self.scenes.draw(index)
            for item, said in zip(scene.objects, self.tell(scene.captions), strict=True):
                self._said[item.mask.tobytes()] = said

    def prepare_image(self, picture: Any) -> Any:
        assert picture.mode == "RGB"
        return None

    def prepare_pass(self, image: Any, masks: np.ndarray, seeds: Sequence[int], instruction: str | None) -> list[str]:
        assert 1 <= len(masks) == len(seeds) <= self.max_regions
        return [self._said[mask.tobytes()] for mask in masks]

    def caption(self, passes: Sequence[list[str]]) -> list[Any]:
        known = {"finish_reason": "eos", "tokens_generated": 3, "mean_confidence": 0.5, "denoise_steps": 4}
        return [
            SimpleNamespace(
                captions=[SimpleNamespace(text=text, **known) for text in texts],
                slots=list(range(len(texts))),
                together=len(passes),
                encode_ms=1.0,
                decode_ms=2.0,
                encode_share_ms=1.0 / len(passes),
                decode_share_ms=2.0 / len(passes),
            )
            for texts in passes
        ]


class Counted:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.pictures = 0

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, items: int) -> None:
        self.pictures += items


def judged(
    tell: Callable[[list[str]], list[str]] = truth,
    scenes: SceneSet = SCENES,
    *,
    batch_size: int = 4,
    workers: int = 1,
    max_regions: int = 6,
) -> list[JudgedRegion]:
    """The regions of an evaluation."""
    progress = Counted()
    pictures = evaluate(
        scenes,
        TellingEngine(scenes, tell, max_regions),
        batch_size=batch_size,
        workers=workers,
        report=Report(max_error_rate=0.0),
        progress=progress,
        stopped=lambda: False,
    )
    regions = [region for picture in pictures for region in picture]
    assert progress.pictures == scenes.pictures
    return regions
