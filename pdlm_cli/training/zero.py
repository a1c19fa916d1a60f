"""DeepSpeed's ZeRO: a JSON file says how weights, gradients and optimizer are shared out, the job says all the rest."""

import importlib.util
import os
from pathlib import Path
from typing import Any

from pdlm_cli import strict_json
from pdlm_cli.errors import ConfigError
from pdlm_cli.training.job import TrainJob

BATCH = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
OWN = (*BATCH, "gradient_clipping", "optimizer", "scheduler", "bf16", "fp16", "amp", "torch_autocast")  # of the job
SHARES = "global_step*/*_optim_states.pt"  # of the optimizer's state in a checkpoint, one a process


def check_deepspeed(job: TrainJob, checkpoint: Path | None, processes: int) -> None:
    """Raise ConfigError unless DeepSpeed can begin this job here, or go on from the checkpoint."""
    if job.deepspeed is None:
        return
    _settings(job.deepspeed)
    if importlib.util.find_spec("deepspeed") is None:
        raise ConfigError("deepspeed: it is not installed; pip install 'pdlm[deepspeed]', or use strategy fsdp2")
    shares = processes if checkpoint is None else len(list(checkpoint.glob(SHARES)))
    if shares != processes:
        raise ConfigError(f"deepspeed: {checkpoint} goes on with {shares} processes, as it began; found {processes}")


def deepspeed_configuration(job: TrainJob, *, cpu: bool) -> dict[str, Any] | None:
    """What the file and the job say together; transformers' Trainer replaces each "auto". Raises ConfigError."""
    if job.deepspeed is None:
        return None
    if "LOCAL_RANK" not in os.environ:
        raise ConfigError("deepspeed: expected torchrun to start it; torchrun --nproc-per-node 1 starts one process")
    if cpu:
        import deepspeed

        # A kernel for sums over processes in inference, minutes of a C++ compiler.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    values = _settings(job.deepspeed)
    # Checkpoints and the trained model are whole.
    zero = values["zero_optimization"] | {"stage3_gather_16bit_weights_on_model_save": True}
    return {name: value for name, value in values.items() if name not in OWN} | {
        **dict.fromkeys(BATCH, "auto"),
        "gradient_clipping": job.optimizer.clip,
        # DeepSpeed's own bf16 would round the weights themselves.
        "bf16": {"enabled": False},
        "torch_autocast": {"enabled": job.precision == "bf16", "dtype": "bfloat16"},
        "zero_optimization": zero,
    }


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
