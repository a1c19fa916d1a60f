"""DeepSpeed's ZeRO: a JSON file says how weights, gradients and optimizer are shared out, the job says all the rest."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pdlm_cli import strict_json
from pdlm_cli.errors import ConfigError
from pdlm_cli.training.job import TrainJob

BATCH = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
OWN = (*BATCH, "gradient_clipping", "optimizer", "scheduler", "bf16", "fp16", "amp", "torch_autocast")  # of the job
ENGINE = "global_step*"  # what DeepSpeed writes into a checkpoint: a share of the optimizer's state a process, ...
SHARE = "*_optim_states.pt"


def check_deepspeed(job: TrainJob, checkpoint: Path | None, processes: int) -> None:
    """Raise ConfigError unless DeepSpeed can begin this job here, or go on from the checkpoint."""
    shares = [] if checkpoint is None else list(checkpoint.glob(f"{ENGINE}/{SHARE}"))
    if job.deepspeed is None:
        if shares:
            raise ConfigError(f"{checkpoint} was written by DeepSpeed; expected deepspeed to go on from there")
        return
    _settings(job.deepspeed)
    if importlib.util.find_spec("deepspeed") is None:
        raise ConfigError("deepspeed: it is not installed; pip install deepspeed, or use strategy: fsdp2 instead")
    if "LOCAL_RANK" not in os.environ:
        raise ConfigError("deepspeed: expected processes of torchrun, found none; torchrun --nproc-per-node 1 is enough")
    if checkpoint is not None and len(shares) != processes:
        raise ConfigError(
            f"deepspeed: {checkpoint} is of {len(shares)} processes of DeepSpeed, found {processes}; "
            "go on with as many, or without deepspeed if it is of none"
        )


def deepspeed_configuration(job: TrainJob) -> dict[str, Any] | None:
    """The file's settings with what the job says, but for what transformers' Trainer computes."""
    if job.deepspeed is None:
        return None
    _prepare_import(job)
    values = _settings(job.deepspeed)
    # Checkpoints and the trained model are whole.
    zero = values.get("zero_optimization", {}) | {"stage3_gather_16bit_weights_on_model_save": True}
    return {name: value for name, value in values.items() if name not in OWN} | {
        **dict.fromkeys(BATCH, "auto"),
        "gradient_clipping": job.optimizer.clip,
        # DeepSpeed's own bf16 would round the weights themselves.
        "bf16": {"enabled": False},
        "torch_autocast": {"enabled": job.precision == "bf16", "dtype": "bfloat16"},
        "zero_optimization": zero,
    }


@contextmanager
def whole_outside_blocks(model: nn.Module) -> Iterator[None]:
    """Parameters that are used beside the modules that they belong to are whole meanwhile. Under ZeRO-3 a module gathers
    its own when it is called, and lets go of them."""
    from deepspeed.zero import GatheredParameters

    modules = [module for name, module in model.named_modules() if name == "mask_id_embedding"]
    with GatheredParameters([value for module in modules for value in module.parameters()]):
        yield


def _settings(configuration: str) -> dict[str, Any]:
    try:
        values = strict_json.loads(Path(configuration).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"deepspeed: {configuration} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"deepspeed: {configuration} should hold an object, found {type(values).__name__}")
    for name in OWN:
        value = values.get(name, "auto")
        if value != "auto" and not (isinstance(value, dict) and value.get("enabled") in ("auto", False)):
            raise ConfigError(f"deepspeed: {configuration}: expected the job to say {name}; leave it out there")
    zero = values.get("zero_optimization")
    if not isinstance(zero, dict) or zero.get("stage") not in (1, 2, 3):
        raise ConfigError(f"deepspeed: {configuration}: expected zero_optimization.stage 1, 2 or 3")
    return values


def _prepare_import(job: TrainJob) -> None:
    """Have DeepSpeed look for no other device than the job's, and compile nothing that training has no use for."""
    if job.device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    if job.device == "cpu" or not torch.cuda.is_available():
        # A kernel for sums over processes in inference, minutes of a C++ compiler.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
