"""Faults on purpose, to see that a run survives them: PDLM_DEVICE_FAULT, read by worker processes alone.

    PDLM_DEVICE_FAULT="oom-above:2"      no more than two passes at once fit into memory
    PDLM_DEVICE_FAULT="nan:3"            NaN among the logits of passes of three regions
    PDLM_DEVICE_FAULT="hang:3"           a pass of three regions never ends
    PDLM_DEVICE_FAULT="die:3"            SIGKILL in a pass of three regions, as by the kernel without memory
    PDLM_DEVICE_FAULT="error:3"          an error of the device in it, after which the process is of no use
    PDLM_DEVICE_FAULT="oom:3"            a pass of three regions never fits
    PDLM_DEVICE_FAULT="die:2@0,nan:*"    several; @0 only in the first process of a device; * in all passes

A pass is told by its number of regions, so that the same one fails however often, and with whatever, it is tried.
"""

import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pdlm_cli.errors import ConfigError

if TYPE_CHECKING:
    from model.batch import Batch
    from model.pdlm import PerceptionDLM

VARIABLE = "PDLM_DEVICE_FAULT"
PATTERN = re.compile(r"(oom-above|oom|nan|hang|die|error):(\d+|\*)(?:@(\d+))?")


@dataclass
class Faults:
    """kinds: pairs of what goes wrong and in which passes. passes: those of the call under way."""

    kinds: list[tuple[str, str]]
    passes: Sequence[Any] = field(default=())

    @classmethod
    def of_environment(cls, model: "PerceptionDLM", life: int) -> "Faults | None":
        """Hooked into the model, if any are asked for in this life of the worker. Raises ConfigError."""
        kinds = parse(os.environ.get(VARIABLE, ""), life)
        if not kinds:
            return None
        faults = cls(kinds)
        # Where memory runs out and kernels fail on a real device: inside the decoder.
        model.language_model.model.layers[0].register_forward_pre_hook(lambda *_: faults.strike())
        encode = model.encode
        model.encode = lambda batch: faults.spoil(encode(batch), batch)  # type: ignore[method-assign]
        return faults

    def aim(self, passes: Sequence[Any]) -> None:
        """Tell of the batch that comes next."""
        self.passes = passes

    def strike(self) -> None:
        """Do what goes wrong before the decoder runs."""
        import torch

        for kind, which in self.kinds:
            if kind == "oom-above" and len(self.passes) > int(which):
                raise torch.OutOfMemoryError(f"CUDA out of memory. ({VARIABLE}: {len(self.passes)} passes at once)")
            if not any(_hits(which, len(item.order)) for item in self.passes):
                continue
            if kind == "oom":
                raise torch.OutOfMemoryError(f"CUDA out of memory. ({VARIABLE})")
            if kind == "error":
                raise torch.AcceleratorError(f"CUDA error: an illegal memory access was encountered ({VARIABLE})")
            if kind == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "hang":
                time.sleep(1e9)

    def spoil(self, tokens: Any, batch: "Batch") -> Any:
        """tokens: image tokens of each tile of the batch; what is NaN there reaches every logit of the pass."""
        for kind, which in self.kinds:
            for end, regions in zip(accumulate(batch.tile_counts), batch.boxes, strict=True):
                if kind == "nan" and _hits(which, len(regions)):
                    tokens[end - 1] = float("nan")
        return tokens


def _hits(which: str, regions: int) -> bool:
    """Whether a fault concerns a pass of so many regions."""
    return which in ("*", str(regions))


def parse(text: str, life: int) -> list[tuple[str, str]]:
    """Kind and passes of each fault of `text` that concerns this life of a worker. Raises ConfigError."""
    kinds = []
    for entry in filter(None, text.split(",")):
        match = PATTERN.fullmatch(entry)
        if match is None or (match[1] == "oom-above" and match[2] == "*"):
            raise ConfigError(
                f"{VARIABLE}: {entry!r} is no fault; expected oom-above:N, or oom, nan, hang, die or error with "
                "the number of regions of a pass or *, as in nan:3 or die:*@0"
            )
        if match[3] is None or int(match[3]) == life:
            kinds.append((match[1], match[2]))
    return kinds
