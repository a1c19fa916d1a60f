"""The engine of a run in which nothing is left to caption: what a checkpoint is, without its weights in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from model.settings import DecodeSettings
from pdlm_cli.checkpoints import named_or_shipped
from pdlm_cli.loading import choose_checkpoint


@dataclass(frozen=True)
class IdleEngine:
    """An Engine that is asked for what it is, and for nothing else."""

    batch_size: ClassVar[int] = 1
    parallel: ClassVar[int] = 1
    incidents: ClassVar[Mapping[str, int]] = {}
    busy: ClassVar[Sequence[tuple[str, float]]] = ()

    max_regions: int
    model_sha256: str
    facts: Mapping[str, str]

    def prepare_image(self, picture: Any) -> NoReturn:
        raise AssertionError("an engine without weights was given a picture")

    def prepare_pass(self, image: Any, masks: Any, seeds: Any, instruction: Any) -> NoReturn:
        raise AssertionError("an engine without weights was given regions")

    def caption(self, passes: Any) -> NoReturn:
        raise AssertionError("an engine without weights was given passes")


def idle_engine(
    checkpoint: str | None, device: str, dtype: str, settings: DecodeSettings, *, quantize: str | None = None
) -> IdleEngine:
    """See `load_engine`: the same errors, but for those that the weights themselves and their device could cause."""
    chosen = choose_checkpoint(named_or_shipped(checkpoint), device, dtype, quantize=quantize, check=settings.check)
    assert chosen.config.regions is not None
    return IdleEngine(chosen.config.regions.max_regions, chosen.sha256(), chosen.facts())
