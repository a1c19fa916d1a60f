"""The model that is measured, and its twins: the same weights run in other ways."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.settings import DecodeSettings
from pdlm_cli.checkpoints import named_or_shipped
from pdlm_cli.device import DTYPES, model_errors, pick_device, pick_dtype, place
from pdlm_cli.loading import load_checkpoint

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from model.pdlm import PerceptionDLM


@dataclass(frozen=True)
class Subject:
    """name: in words. random: its captions mean nothing, only their speed does. quantize: a key of STORAGES, None for
    weights as they are. compile_s: seconds that compiling took, None if it is not compiled."""

    name: str
    random: bool
    model: "PerceptionDLM"
    quantize: str | None = None
    compile_s: float | None = None

    @property
    def facts(self) -> dict[str, Any]:
        config = self.model.config
        parts = {"decoder": "language_model.model.layers", "vision": "vision_model"}
        named = list(self.model.named_parameters())
        sizes = {
            f"{part}_parameters": sum(own.numel() for name, own in named if name.startswith(prefix))
            for part, prefix in parts.items()
        }
        assert config.regions is not None
        return {
            "model": self.name,
            "weights": "random" if self.random else "trained",
            "quantize": self.quantize or "none",
            "compiled": self.compile_s is not None,
            "compile_s": self.compile_s,
            "parameters": sum(own.numel() for _, own in named),
            **sizes,
            "vocabulary": config.text_config.vocab_size,
            "attention": config.regions.attention,
        }


def open_subject(
    model: str | None,
    random: str | None,
    vocabulary: int | None,
    device: str,
    dtype: str,
    quantize: str | None = None,
    compiled: bool = False,
) -> Subject:
    """model: checkpoint folder or hub id. random: a size, for random weights in its place. vocabulary: of random
    weights, that of the size if None. quantize: see `Subject`. compiled: see
    model.compiled. The checkpoint that ships if neither is given. Raises ConfigError, DeviceError."""
    import torch

    from model.pdlm import PerceptionDLM
    from model.sizes import random_model

    if random is None:
        check, source = DecodeSettings().check, named_or_shipped(model)
        loaded = load_checkpoint(source, device, dtype, quantize=quantize, compiled=compiled, check=check)
        assert isinstance(loaded.model, PerceptionDLM)
        noise = loaded.model.config.random_weights
        return Subject(model or "model/tiny, which ships", noise, loaded.model, quantize, loaded.compile_s)
    where = pick_device(device)
    kind = getattr(torch, DTYPES[pick_dtype(dtype, where)])
    with model_errors():
        made = where if quantize is None else "cpu"  # as they are, they may not fit where they are to go
        fresh = random_model(random, vocabulary=vocabulary, dtype=kind, device=made)
        return Subject(f"random {random}", True, fresh, quantize, place(fresh, where, quantize, compiled=compiled))


def released_twin(model: "PerceptionDLM") -> "PerceptionDLM":
    """The same parameters under released semantics."""
    from model.regions import RegionConfig

    regions = model.config.regions
    assert regions is not None
    twin = copy.deepcopy(model, _shared(model))
    twin.config.regions = RegionConfig.released(regions.max_regions, regions.roi_size)
    return twin


def causal_twin(model: "PerceptionDLM") -> "LlamaForCausalLM":
    """The same decoder, left to right."""
    twin: LlamaForCausalLM = copy.deepcopy(model.language_model, _shared(model))
    twin.config.is_causal = True
    return twin


def _shared(model: "PerceptionDLM") -> dict[int, Any]:
    """What a deep copy is to leave as it is: weights, which are not changed, and the tokenizer."""
    same = [*model.parameters(), *model.buffers(), model.tokens]
    return {id(item): item for item in same}
