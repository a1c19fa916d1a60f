"""`pdlm train`: a job to a trained model.

job -> model -> samples -> steps, with checkpoints and evaluations -> model folder
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from torch import Tensor
from transformers import TrainingArguments
from transformers.integrations import get_available_reporting_integrations
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.utils import logging as transformers_logging

from model.pdlm import PerceptionDLMBase
from model.words import word_prior
from pdlm_cli import logs
from pdlm_cli.atomic import sync
from pdlm_cli.device import device_errors
from pdlm_cli.errors import ConfigError, OutputError
from pdlm_cli.logs import log
from pdlm_cli.signals import StopSignals
from pdlm_cli.training.arguments import training_arguments
from pdlm_cli.training.bad_samples import BadSamples
from pdlm_cli.training.checkpoints import load_trained, load_trained_part
from pdlm_cli.training.evaluation import HeldOut
from pdlm_cli.training.job import TrainJob
from pdlm_cli.training.lora import add_adapters
from pdlm_cli.training.meter import Meter, peak_flops
from pdlm_cli.training.records import open_records
from pdlm_cli.training.run_folder import COMPLETE, RunFolder
from pdlm_cli.training.samples import Samples, end_workers
from pdlm_cli.training.start import freeze, start_model
from pdlm_cli.training.trainer import Parts, PdlmTrainer
from pdlm_cli.training.zero import check_deepspeed

LESS_MEMORY = "a smaller micro_batch, gradient_checkpointing: true, or strategy: fsdp2 on several devices"


@dataclass(frozen=True)
class Prepared:
    """A model with its samples, before the first step. prior: of words, if they are learnt. steps: of the
    optimizer, in all."""

    model: PerceptionDLMBase
    samples: Samples
    held_out: HeldOut | None
    prior: Tensor | None
    steps: int


def prepare(job: TrainJob, checkpoint: Path | None = None) -> Prepared:
    """Load or make the model, freeze what the job says, open the data. Raises PdlmError."""
    check_deepspeed(job, checkpoint, process_count())
    check_reporting(job.report.to)
    model = _model(job, checkpoint)
    regions = model.config.regions
    if job.noise.twins and (regions is None or regions.attention != "isolated"):
        raise ConfigError("noise.twins: expected a model whose captions are isolated; others would read their twins")
    samples = Samples(job.data.sources, job.data, model.config, model.tokens, job.seed)
    prior = None
    if job.objective != "captions":
        if model.config.regions is None or not model.config.roi_tokens:
            raise ConfigError("objective: words are read from RoI tokens, which this model does not have")
        prior = word_prior(model.tokens, model.config.text_config.vocab_size, _texts(job))
    asked = prior if job.objective == "words" else None
    held_out = HeldOut(job, model.config, model.tokens, asked) if job.report.eval else None
    try:
        steps = job.max_steps or samples.stream.length(job.epochs or 0) // job.batch
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not steps:
        raise ConfigError(f"{job.epochs} epochs hold less than one batch of {job.batch} samples; set max_steps")
    return Prepared(model, samples, held_out, prior, steps)


def check_reporting(names: Sequence[str]) -> None:
    """Raise ConfigError unless the Trainer knows all of these and can report to them."""
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise ConfigError(f"report.to: expected some of {', '.join(INTEGRATION_TO_CALLBACK)}, found {name!r}")
        if name not in get_available_reporting_integrations():
            raise ConfigError(f"report.to: {name} is not installed; install it, or leave it out")


def process_count() -> int:
    """As torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _model(job: TrainJob, checkpoint: Path | None) -> PerceptionDLMBase:
    """With adapters if the job has them, frozen as it says, and with the weights of the checkpoint."""
    if checkpoint is not None and job.lora is None:
        model = load_trained(checkpoint)
    else:
        model = start_model(job.model, job.seed, _texts(job))
    if job.lora is not None:
        add_adapters(model, job.lora, job.seed)
    freeze(model, job.optimizer, adapters=job.lora is not None)
    if checkpoint is not None and job.lora is not None:
        load_trained_part(model, checkpoint)
    return model


def _texts(job: TrainJob) -> Iterator[str]:
    for source in job.data.sources:
        yield from open_records(source, held_blocks=1).texts()


def run(job: TrainJob, *, resume: bool, log_format: str, stop: StopSignals) -> int:
    """Train, and return the exit code: 0, or 128 + signal after a checkpoint. Raises PdlmError."""
    console, form = logs.configure(log_format)
    transformers_logging.set_verbosity_error()
    writer = int(os.environ.get("RANK", "0")) == 0  # as torchrun numbers processes
    if not writer:
        log.setLevel("ERROR")
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(Path(job.output), writer=writer))
        folder.claim(job, resume=resume)
        if writer:
            stack.enter_context(logs.also_to(folder.log))
        if folder.model.exists():
            log.info("%s is trained already", folder.model)
            return 0
        checkpoint = folder.last_checkpoint()
        log.info("starting from %s", checkpoint or job.model.start or "random weights")
        ready = prepare(job, checkpoint)
        return _train(job, ready, folder, checkpoint, console, form, stop)


def _train(
    job: TrainJob,
    ready: Prepared,
    folder: RunFolder,
    checkpoint: Path | None,
    console: Console,
    form: str,
    stop: StopSignals,
) -> int:
    before: dict[str, Any] = {"step": 0, "samples_seen": 0, "bad_samples": 0}
    if checkpoint is not None:
        before = json.loads((checkpoint / COMPLETE).read_text())
    folder.discard_after(before["step"])
    try:
        arguments = training_arguments(job, folder, ready.steps, process_count())
    except ValueError as error:
        raise ConfigError(str(error)) from error
    _agree(before["step"], arguments, folder)
    ready.model.config.random_weights = False  # from the first step on
    bar = form == "rich" and folder.writer
    meter = Meter(console, bar=bar, total=ready.steps, done=before["step"], peak_flops=_peak_flops(arguments))
    bad = BadSamples(job.data.max_bad_share, before["samples_seen"], before["bad_samples"])
    parts = Parts(job, folder, ready.samples, ready.held_out, ready.prior, bad, meter, stop)
    with device_errors(LESS_MEMORY):
        try:
            trainer = PdlmTrainer(ready.model, arguments, parts)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if folder.writer and "tensorboard" in job.report.to:
            _add_tensorboard(trainer, folder)
        stop.defer()
        try:
            with meter:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        finally:
            end_workers()
    if trainer.state.global_step < ready.steps:
        log.warning("stopped at step %d; --resume goes on from there", trainer.state.global_step)
        return 128 + (stop.received or signal.SIGTERM)  # which another process got, if not this one
    _export(trainer, folder)
    log.info("wrote %s, %d bad samples among %d", folder.model, bad.bad, bad.seen)
    return 0


def _agree(step: int, arguments: TrainingArguments, folder: RunFolder) -> None:
    """Raise ConfigError unless all processes go on from the same step: each looks for the last checkpoint itself."""
    if arguments.world_size == 1:
        return
    ends = torch.tensor([step, -step], device=arguments.device)
    dist.all_reduce(ends, op=dist.ReduceOp.MAX)
    last, first = int(ends[0]), -int(ends[1])
    if first != last:
        raise ConfigError(
            f"processes would go on from step {first} here and from step {last} there; {folder.path} must be one "
            "folder, on a file system that all machines share"
        )


def _export(trainer: PdlmTrainer, folder: RunFolder) -> None:
    """Beside its final place first: a folder of that name is always a complete checkpoint."""
    temporary = folder.path / ".model.tmp"
    try:
        if folder.writer:
            shutil.rmtree(temporary, ignore_errors=True)
        trainer.export(temporary)
        if folder.writer:
            for path in (*temporary.rglob("*"), temporary):
                sync(path)
            temporary.rename(folder.model)
            sync(folder.path)
    except OSError as error:
        raise OutputError(f"cannot write {folder.model}: {error.strerror or error}") from error
    trainer.accelerator.wait_for_everyone()


def _add_tensorboard(trainer: PdlmTrainer, folder: RunFolder) -> None:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    trainer.add_callback(TensorBoardCallback(SummaryWriter(str(folder.tensorboard))))


def _peak_flops(arguments: TrainingArguments) -> float | None:
    if arguments.device.type != "cuda":
        return None
    peak = peak_flops(torch.cuda.get_device_name(arguments.device))
    return peak * arguments.world_size if peak is not None else None
