"""A checkpoint on its device, in the dtype that was asked for. torch is imported only when one is loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pdlm_cli.checkpoints import weights_sha256
from pdlm_cli.device import DTYPES, model_errors, pick_device, pick_dtype, place
from pdlm_cli.logs import log

if TYPE_CHECKING:
    from model.config import PerceptionDLMConfig
    from model.pdlm import PerceptionDLMBase


@dataclass(frozen=True)
class LoadedModel:
    """folder: of its files. quantize: a key of STORAGES, None if weights are as in them. facts: name, device, dtype,
    weights, versions. compile_s: seconds that compiling took, None if it is not compiled."""

    model: "PerceptionDLMBase"
    folder: Path
    quantize: str | None
    facts: Mapping[str, str]
    compile_s: float | None

    def sha256(self) -> str:
        """Tells one set of weights, as they are stored, from another. Reads them all once more."""
        return weights_sha256(self.folder, self.quantize)


def load_checkpoint(
    source: str,
    device: str,
    dtype: str,
    *,
    quantize: str | None = None,
    compiled: bool = False,
    check: "Callable[[PerceptionDLMConfig], None] | None" = None,
) -> LoadedModel:
    """Load a region or image-level checkpoint onto a device.

    source: folder or hub id. device: "auto" or a torch device. dtype: "auto" (bf16 on CUDA, fp32 elsewhere) or a key of
    DTYPES. quantize: a key of model.quantize.STORAGES, None to leave weights as they are. compiled: see model.compiled.
    check: raises ValueError if a model of this config does not do, before its weights are read.
    Raises ConfigError if any of it does not exist or does not fit together, DeviceError.
    """
    import torch
    import transformers

    from model.checkpoint import read_config
    from model.checkpoint_files import resolve
    from model.pdlm import load_model

    where = pick_device(device)
    dtype = pick_dtype(dtype, where)
    with model_errors():
        folder = resolve(source)
        if check is not None:
            check(read_config(folder))
        model = load_model(folder, dtype=getattr(torch, DTYPES[dtype]), device=torch.device("cpu"))
        compile_s = place(model, where, quantize, compiled=compiled)
    if model.config.random_weights:
        log.warning("%s has random weights: what it writes is noise, good only to try things", folder)
    facts = {
        "model": str(folder),
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else str(where),
        "dtype": dtype,
        "quantize": quantize or "none",
        "compiled": "no" if compile_s is None else f"in {compile_s:.1f} s",
        "weights": "random" if model.config.random_weights else "trained",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    return LoadedModel(model, folder, quantize, facts, compile_s)
