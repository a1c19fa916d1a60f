"""What an evaluation on drawn scenes was asked for, and how it ended."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from model.settings import ChatSettings, DecodeSettings
from pdlm_cli import __version__
from pdlm_cli.data_engine.scene import check
from pdlm_cli.errors import ConfigError
from pdlm_cli.evaluation.scenes import SceneSet
from pdlm_cli.logs import log
from pdlm_cli.signals import StopSignals

Decode = TypeVar("Decode", DecodeSettings, ChatSettings)  # of captions, of answers


@dataclass(frozen=True, kw_only=True)
class SceneEvalJob(Generic[Decode]):
    """Everything an evaluation was asked for.

    pictures, seed, split, level, objects: see SceneSet. size: that of the checkpoint's tiles, if None. model, device,
    dtype, quantize: see load_checkpoint. batch_size: passes of a model call, or pictures. workers: threads that draw.
    """

    pictures: int
    seed: int
    split: str
    level: int
    size: int | None
    objects: tuple[int, int]
    model: str | None
    device: str
    dtype: str
    quantize: str | None
    decode: Decode
    batch_size: int
    workers: int
    output: Path
    overwrite: bool

    def settings(self, scenes: SceneSet, facts: Mapping[str, str]) -> dict[str, Any]:
        """All that the scores depend on. facts: of the engine, model_sha256 among them."""
        return {
            "model": self.model or "the one that ships",
            "model_sha256": facts["model_sha256"],
            "dtype": facts["dtype"],
            "quantize": self.quantize,
            **asdict(scenes),
            **asdict(self.decode),
        }

    def ran(self, settings: Mapping[str, Any], facts: Mapping[str, str], speed: Mapping[str, Any]) -> dict[str, Any]:
        """The content of run.json."""
        versions = {"pdlm": __version__, "python": platform.python_version()}
        how = {"settings": settings, "batch_size": self.batch_size}
        return how | {"engine": dict(facts), "versions": versions, "speed": dict(speed)}

    def scenes(self, tile: int) -> SceneSet:
        """tile: of the checkpoint, in pixels. Raises ConfigError if there are no such scenes."""
        size = self.size or tile
        try:
            check(self.seed, 0, self.level, size, self.split, self.objects)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return SceneSet(self.pictures, self.seed, self.split, self.level, size, self.objects)


class Scored(Protocol):
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class EvalResult:
    """found: None if the run was stopped. exit_code: 0, or 128 + the signal that came."""

    found: Scored | None
    exit_code: int

    @classmethod
    def stopped(cls, done: int, pictures: int, stop: StopSignals) -> Self:
        """After `done` of the pictures, by the signal that `stop` has received."""
        assert stop.received is not None
        log.error("stopped after %d of %d pictures; no scores were written", done, pictures)
        return cls(None, 128 + stop.received)

    def to_json(self) -> str:
        return json.dumps(self.found.to_json() if self.found is not None else {"exit_code": self.exit_code})
