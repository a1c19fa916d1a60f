"""Low-rank adapters beside matrices of the decoder (PEFT's), and how they become part of them again."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.pdlm import PerceptionDLMBase
from pdlm_cli.errors import ConfigError
from pdlm_cli.training.job import Lora

NAME = "default"  # that PEFT gives an adapter
ADAPTER, BESIDE = ".lora_", ".base_layer."  # in names of an adapter's parameters, and of those it lies beside


def add_adapters(model: PerceptionDLMBase, lora: Lora, seed: int) -> None:
    """Put adapters into the decoder, in place; they change nothing yet. Raises ConfigError if it has no such matrices.

    Parameters keep their names but those of adapted matrices: `q_proj.weight` becomes `q_proj.base_layer.weight`,
    beside `q_proj.lora_A.default.weight` and `q_proj.lora_B.default.weight`.
    """
    from peft import LoraConfig, inject_adapter_in_model  # only where it is asked for: it takes a second to import

    decoder = model.language_model
    matrices = {name.rpartition(".")[2] for name, part in decoder.named_modules() if isinstance(part, nn.Linear)}
    unknown = sorted(set(lora.targets) - matrices)
    if unknown:
        raise ConfigError(f"lora.targets: expected some of {', '.join(sorted(matrices))}, found {', '.join(unknown)}")
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets), bias="none"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, decoder, adapter_name=NAME)


def is_adapter(name: str) -> bool:
    """Whether a parameter of that name belongs to an adapter."""
    return ADAPTER in name


def merged(state: Mapping[str, Tensor], lora: Lora) -> dict[str, Tensor]:
    """The parameters of the model without adapters that computes what a model with these parameters does."""
    plain = {}
    for name, value in state.items():
        if is_adapter(name):
            continue
        matrix, beside, parameter = name.partition(BESIDE)
        if parameter == "weight":
            down, up = (state[f"{matrix}{ADAPTER}{half}.{NAME}.weight"] for half in "AB")
            value = value + lora.alpha / lora.rank * (up @ down)
        plain[f"{matrix}.{parameter}" if beside else name] = value
    return plain
