"""Models whose weights are shared out over processes, by FSDP2 or by DeepSpeed's ZeRO-3."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.distributed.fsdp import FSDPModule


def is_sharded(model: nn.Module) -> bool:
    """Whether no process has the whole weights by itself, so that all of them must compute the same together."""
    return isinstance(model, FSDPModule) or _under_zero3(model)


def whole_size(parameter: nn.Parameter) -> int:
    """Elements of a parameter, wherever they are: under ZeRO-3 it is empty but while its module computes."""
    return int(parameter.ds_numel) if hasattr(parameter, "ds_numel") else parameter.numel()


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Parts of the model can be called one by one meanwhile, also where they are sharded. What is called by itself
    gathers its own parameters: blocks under FSDP2, every module under ZeRO-3. The rest is whole from the beginning."""
    if isinstance(model, FSDPModule):
        model.unshard()
        try:
            yield
        finally:
            model.reshard()
    elif _under_zero3(model):
        import deepspeed

        prompts = [value for name, value in model.named_parameters() if name.startswith("mask_id_embedding.")]
        with deepspeed.zero.GatheredParameters(prompts, enabled=bool(prompts)):  # which are read, not called
            yield
    else:
        yield


def _under_zero3(model: nn.Module) -> bool:
    return any(hasattr(value, "ds_status") for value in model.parameters())
