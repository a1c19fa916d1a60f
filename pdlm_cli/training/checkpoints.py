"""Weights and optimizer of a checkpoint, whichever strategy wrote it and on however many processes.

    one process, DDP  model.safetensors, config and tokenizer: a checkpoint like any other     optimizer.pt
    ... with LoRA     trained.safetensors: what is trained, to be put over the start           optimizer.pt
    ZeRO              as of DDP, and in global_stepN/ what DeepSpeed goes on with, shares of as many processes
    FSDP2             pytorch_model_fsdp_0/: every parameter in shards, config and tokenizer   optimizer_0/

A run may go on under another strategy, DeepSpeed's excepted: weights are read whole, before the model is sharded, and
the optimizer's state is put together or cut as needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.tensor import DTensor, distribute_tensor

from model import checkpoint
from model.pdlm import PerceptionDLM, PerceptionDLMBase, load_model

SHARDED_MODEL, SHARDED_OPTIMIZER, OPTIMIZER = "pytorch_model_fsdp_0", "optimizer_0", "optimizer.pt"
TRAINED = "trained.safetensors"


def load_trained(folder: Path) -> PerceptionDLMBase:
    """The model of a checkpoint of an earlier run of the same job, in fp32.

    Its parameters are moved to memory of their own: kernels round differently for the unaligned addresses that tensors
    of a mapped file have, and a resumed run would drift from an uninterrupted one in the last digit.
    """
    if (folder / SHARDED_MODEL).exists():
        config = checkpoint.read_config(folder)
        kind = PerceptionDLMBase if config.regions is None else PerceptionDLM
        model = kind.from_weights(_read_shards(folder / SHARDED_MODEL), config, checkpoint.read_tokens(folder, config))
    else:
        model = load_model(folder, dtype=torch.float32, device=torch.device("cpu"))
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def save_trained_part(model: nn.Module, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write the parameters that learn. weights: whole ones, where those of the model are shards."""
    folder.mkdir(parents=True, exist_ok=True)
    own = dict(model.named_parameters())
    learnt = {name: (weights or own)[name].detach() for name, value in own.items() if value.requires_grad}
    save_file(learnt, folder / TRAINED)


def load_trained_part(model: nn.Module, folder: Path) -> None:
    """Put the parameters of a checkpoint over those of the model that the job starts from, adapters in place."""
    weights = load_file(folder / TRAINED) if (folder / TRAINED).exists() else _read_shards(folder / SHARDED_MODEL)
    own = dict(model.named_parameters())
    learnt = {name for name, value in own.items() if value.requires_grad}
    assert learnt <= weights.keys() <= own.keys()
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Read the optimizer's state into an optimizer of whole or of sharded parameters."""
    sharded = any(isinstance(value, DTensor) for value in model.parameters())
    if (folder / SHARDED_OPTIMIZER).exists():
        state = {"optimizer": get_optimizer_state_dict(model, optimizer)}
        dcp.load(state, checkpoint_id=folder / SHARDED_OPTIMIZER, no_dist=True)
        set_optimizer_state_dict(model, optimizer, state["optimizer"])
        return
    state = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    optimizer.load_state_dict(_cut(state, optimizer) if sharded else state)


def _read_shards(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a distributed checkpoint, whole, read by this process alone."""
    stored = dcp.FileSystemReader(folder).read_metadata().state_dict_metadata
    empty = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in stored.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    dcp.load(empty, checkpoint_id=folder, no_dist=True)
    return {name.removeprefix("model."): value for name, value in empty.items()}


def _cut(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """State of whole parameters as that of the sharded ones of an optimizer, which come in the same order."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    cut: dict[int, dict[str, Any]] = {}
    for number, values in state["state"].items():
        like = parameters[number]
        cut[number] = {
            name: distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
            if value.shape == like.shape
            else value
            for name, value in values.items()
        }
    return {**state, "state": cut}
