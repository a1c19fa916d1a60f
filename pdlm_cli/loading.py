"""A checkpoint on its device, in the dtype that was asked for. torch is imported only when one is chosen or loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdlm_cli.checkpoints import weights_sha256
from pdlm_cli.device import DTYPES, model_errors, pick_device, pick_dtype, place
from pdlm_cli.logs import log

if TYPE_CHECKING:
    from model.config import PerceptionDLMConfig
    from model.pdlm import PerceptionDLMBase

Check = Callable[["PerceptionDLMConfig"], None]


@dataclass(frozen=True)
class ChosenModel:
    """A checkpoint, and how it would be loaded. folder: of its files. device: a torch device. dtype: a key of DTYPES.
    quantize: a key of STORAGES, None if weights are as in the files."""

    folder: Path
    config: "PerceptionDLMConfig"
    device: Any
    dtype: str
    quantize: str | None

    def facts(self) -> dict[str, str]:
        """Name, device, dtype, weights, versions."""
        import torch
        import transformers

        return {
            "model": str(self.folder),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device),
            "dtype": self.dtype,
            "quantize": self.quantize or "none",
            "compiled": "no",
            "weights": "random" if self.config.random_weights else "trained",
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def sha256(self) -> str:
        """Tells one set of weights, as they are stored, from another. Reads them all."""
        return weights_sha256(self.folder, self.quantize)


@dataclass(frozen=True)
class LoadedModel:
    """chosen: its checkpoint. facts: see `ChosenModel`. compile_s: seconds that compiling took, None if it is not
    compiled."""

    model: "PerceptionDLMBase"
    chosen: ChosenModel
    facts: Mapping[str, str]
    compile_s: float | None

    def sha256(self) -> str:
        return self.chosen.sha256()


def choose_checkpoint(
    source: str, device: str, dtype: str, *, quantize: str | None = None, check: Check | None = None
) -> ChosenModel:
    """All of `load_checkpoint` that can be known, and go wrong, before weights are read. Raises ConfigError."""
    from model.checkpoint import read_config
    from model.checkpoint_files import resolve

    where = pick_device(device)
    with model_errors():
        folder = resolve(source)
        config = read_config(folder)
        if check is not None:
            check(config)
    return ChosenModel(folder, config, where, pick_dtype(dtype, where), quantize)


def load_checkpoint(
    source: str,
    device: str,
    dtype: str,
    *,
    quantize: str | None = None,
    compiled: bool = False,
    check: Check | None = None,
) -> LoadedModel:
    """Load a region or image-level checkpoint onto a device.

    source: folder or hub id. device: "auto" or a torch device. dtype: "auto" (bf16 on CUDA, fp32 elsewhere) or a key of
    DTYPES. quantize: a key of model.quantize.STORAGES, None to leave weights as they are. compiled: see model.compiled.
    check: raises ValueError if a model of this config does not do, before its weights are read.
    Raises ConfigError if any of it does not exist or does not fit together, DeviceError.
    """
    import torch

    from model.pdlm import load_model

    chosen = choose_checkpoint(source, device, dtype, quantize=quantize, check=check)
    with model_errors():
        wanted = getattr(torch, DTYPES[chosen.dtype])
        model = load_model(chosen.folder, dtype=wanted, device=torch.device("cpu"))
        compile_s = place(model, chosen.device, quantize, compiled=compiled)
    if model.config.random_weights:
        log.warning("%s has random weights: what it writes is noise, good only to try things", chosen.folder)
    facts = chosen.facts()
    if compile_s is not None:
        facts["compiled"] = f"in {compile_s:.1f} s"
    return LoadedModel(model, chosen, facts, compile_s)
