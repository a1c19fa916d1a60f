"""A job in the words of transformers' Trainer. Order of samples, batches and noise are not left to it."""

import math
import os

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import TrainingArguments

from pdlm_cli.training.job import TrainJob
from pdlm_cli.training.run_folder import RunFolder
from pdlm_cli.training.zero import deepspeed_configuration

FSDP2 = {
    "version": 2,
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"],
    "state_dict_type": "SHARDED_STATE_DICT",  # so that a run can go on with another number of processes
}


def training_arguments(job: TrainJob, folder: RunFolder, steps: int, processes: int) -> TrainingArguments:
    """steps, processes: of the whole run. Raises ConfigError, and ValueError for what does not fit together."""
    sharded = job.strategy == "fsdp2" and processes > 1
    cpu = job.device == "cpu" or not torch.accelerator.is_available()
    if cpu:  # accelerate imports DeepSpeed where it is installed, which would say on stdout that it finds no device
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    arguments = TrainingArguments(
        output_dir=str(folder.checkpoints),
        max_steps=steps,
        per_device_train_batch_size=job.micro_batch,
        gradient_accumulation_steps=job.accumulation(processes),
        learning_rate=job.optimizer.lr,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(job.optimizer.warmup * steps),
        max_grad_norm=job.optimizer.clip,
        bf16=job.precision == "bf16" and job.deepspeed is None,  # whose engine casts by itself
        logging_steps=job.report.log,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if job.report.eval else "no",
        eval_steps=job.report.eval or None,
        save_steps=job.report.save,
        save_total_limit=job.report.keep,
        report_to=[name for name in job.report.to if name != "tensorboard"] or "none",
        seed=job.seed % 2**32,
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=cpu,
        ddp_find_unused_parameters=job.objective == "words",  # which pass by the decoder's blocks
        fsdp="full_shard" if sharded else None,
        fsdp_config=dict(FSDP2) if sharded else None,
        # Otherwise each process would hold the whole gradient from the first forward of a step to the last.
        accelerator_config={"gradient_accumulation_kwargs": {"sync_each_batch": True}} if sharded else None,
        deepspeed=deepspeed_configuration(job, cpu=cpu),
    )
    # Of several GPUs a single process takes one; the Trainer would spread it over all with torch's DataParallel.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    if sharded and arguments.bf16:
        # accelerate's own would sum gradients over processes in bf16, and round the loss itself.
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        arguments.fsdp_plugin_args["mixed_precision_policy"] = policy
    return arguments
