"""The model as the pipeline sees it: prepare an image, prepare a pass, caption a batch of passes.

torch is imported only when an engine is loaded. The engine of this file runs in its own process; `pdlm_cli.devices`
has one that runs it in worker processes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.preprocess import prepare_image, prepare_pass
from model.settings import DecodeSettings
from pdlm_cli.checkpoints import named_or_shipped
from pdlm_cli.device import device_errors, free_memory, model_errors
from pdlm_cli.errors import PassErrorCode
from pdlm_cli.loading import load_checkpoint
from pdlm_cli.logs import log

if TYPE_CHECKING:
    from model.decode import PassCaptions
    from model.pdlm import PerceptionDLM

CALL_LANES = 4  # passes of a call for each that the device has room for
CPU_BATCH = 4  # passes; measured with model/tiny, see docs/performance.md


@dataclass(frozen=True)
class PassFailure:
    """Why a pass has no captions; its neighbours may have theirs."""

    code: PassErrorCode
    message: str


PassResult = Union["PassCaptions", PassFailure]


class Engine(Protocol):
    """What captioning needs of a model. The prepare functions are called from several threads at once.

    max_regions: most regions of a pass. model_sha256: tells one set of weights and settings from another.
    batch_size: passes of a batch that suit the device. parallel: calls of `caption` that may be under way at once, from
    a thread each.
    """

    @property
    def max_regions(self) -> int: ...

    @property
    def model_sha256(self) -> str: ...

    @property
    def facts(self) -> Mapping[str, str]: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def parallel(self) -> int: ...

    @property
    def incidents(self) -> Mapping[str, int]:
        """What has gone wrong so far and was mended, by name; for the statistics of the run."""

    @property
    def busy(self) -> Sequence[tuple[str, float]]:
        """Name of each device and the seconds that it has computed so far, if it is measured."""

    def prepare_image(self, picture: Image.Image) -> Any:
        """picture: mode RGB. Returns what all passes of the picture share."""

    def prepare_pass(self, image: Any, masks: NDArray[np.bool_], seeds: Sequence[int], instruction: str | None) -> Any:
        """masks: (R, height, width) of the picture, none empty, R <= max_regions. seeds: one a mask. instruction: for
        these regions, None for that of all."""

    def caption(self, passes: Sequence[Any]) -> list[PassResult]:
        """Captions of one batch of passes, of one or more images, or why there are none. Raises DeviceError."""


@dataclass(frozen=True)
class ModelEngine:
    """A loaded checkpoint with its decoding settings. tile_size: pixels along a side. lanes: passes on the device at a
    time, at most; None for all of a call. facts: name, device, dtype, weights, versions."""

    parallel: ClassVar[int] = 1
    incidents: ClassVar[Mapping[str, int]] = {}
    busy: ClassVar[Sequence[tuple[str, float]]] = ()

    model: "PerceptionDLM"
    settings: DecodeSettings
    max_regions: int
    tile_size: int
    model_sha256: str
    facts: Mapping[str, str]
    lanes: int | None

    @property
    def batch_size(self) -> int:
        """On CUDA more than are on the device at a time, so that one that is done has a successor.

        Where captions do not stream, passes of a call are padded, which costs the CPU more than it gains.
        """
        streams = self.settings.streams(self.model.config)
        if self.lanes is None:
            return CPU_BATCH if streams else 1
        return self.lanes * CALL_LANES if streams else self.lanes

    def prepare_image(self, picture: Image.Image) -> Any:
        return prepare_image(picture, self.model.config)

    def prepare_pass(self, image: Any, masks: NDArray[np.bool_], seeds: Sequence[int], instruction: str | None) -> Any:
        return prepare_pass(image, masks, self.model.config, seeds=seeds, instruction=instruction)

    def caption(self, passes: Sequence[Any]) -> list[PassResult]:
        """Raises OutOfDeviceMemory too, and leaves it to the caller to try fewer passes."""
        from model.decode import NAN_LOGITS, caption_passes

        # Here, and not where passes are prepared: in a run another process does that, which has no tokenizer.
        asked = [(len(own.image.tiles), len(own.order), own.instruction) for own in passes]
        answers = {needs: self._no_room(*needs) for needs in set(asked)}  # a millisecond each, and mostly the same
        whys = [answers[needs] for needs in asked]
        fitting = [own for own, why in zip(passes, whys, strict=True) if why is None]
        with device_errors():
            found = iter(caption_passes(self.model, fitting, self.settings, lanes=self.lanes))
        results: list[PassResult] = []
        for why in whys:
            if why is not None:
                results.append(PassFailure("prompt_too_long", why))
            elif (result := next(found)).broken:
                results.append(PassFailure("nan_logits", NAN_LOGITS))
            else:
                results.append(result)
        return results

    def _no_room(self, tiles: int, regions: int, instruction: str | None) -> str | None:
        """Why a pass that needs these cannot be read whole; None if it can be."""
        from model.decode import check_prompt

        settings, tokens, config = self.settings, self.model.tokens, self.model.config
        try:
            check_prompt(settings, tokens, config, tiles=tiles, regions=regions, instruction=instruction)
        except ValueError as error:
            return str(error)
        return None


def load_engine(
    checkpoint: str | None,
    device: str,
    dtype: str,
    settings: DecodeSettings,
    *,
    quantize: str | None = None,
    compiled: bool = False,
) -> ModelEngine:
    """Load a checkpoint onto a device.

    checkpoint: folder or hub id, None for the one that ships. The rest as for load_checkpoint. Raises ConfigError if
    any of it does not exist or does not fit together, DeviceError.
    """
    source = named_or_shipped(checkpoint)  # before torch, which takes seconds to import

    from model.decode import check_prompt
    from model.pdlm import PerceptionDLM

    loaded = load_checkpoint(source, device, dtype, quantize=quantize, compiled=compiled, check=settings.check)
    model, config = loaded.model, loaded.model.config
    assert isinstance(model, PerceptionDLM) and config.regions is not None
    with model_errors():
        check_prompt(settings, model.tokens, config)
    lanes, planned = _plan_memory(model, settings)
    sizes = config.regions.max_regions, config.tile_size
    return ModelEngine(model, settings, *sizes, loaded.sha256(), {**loaded.facts, "memory": planned}, lanes)


def _plan_memory(model: "PerceptionDLM", settings: DecodeSettings) -> tuple[int | None, str]:
    """Passes that fit the memory that the weights have left free, and what was planned in words; on the CPU the caller
    says how many."""
    import torch

    from model.memory import pass_bytes, passes_that_fit

    if model.device.type != "cuda":
        return None, "not planned on the CPU"
    free_memory()  # torch holds on to what weights have passed through while they were stored small
    free, _ = torch.cuda.mem_get_info(model.device)
    config, element = model.config, model.dtype.itemsize
    lanes, one = passes_that_fit(free, config, settings, element), pass_bytes(config, settings, element)
    planned = f"{free / 2**30:.1f} GiB free, {one / 2**30:.2f} GiB a pass: {lanes} passes at once"
    log.info("memory of %s: %s", model.device, planned)
    return lanes, planned
