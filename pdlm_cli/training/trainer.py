"""transformers' Trainer over our batches, and the few places where it is led another way."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import DistributedType, PartialState
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from model.pdlm import PerceptionDLMBase
from pdlm_cli.errors import DeviceError
from pdlm_cli.logs import log
from pdlm_cli.signals import StopSignals
from pdlm_cli.training.bad_samples import BadSamples
from pdlm_cli.training.checkpoints import load_optimizer, save_trained_part
from pdlm_cli.training.collate import Collator, MicroBatches, TrainingBatch
from pdlm_cli.training.evaluation import HeldOut
from pdlm_cli.training.flops import batch_flops
from pdlm_cli.training.job import TrainJob
from pdlm_cli.training.lora import merged
from pdlm_cli.training.meter import Meter
from pdlm_cli.training.muon import MuonAdamW
from pdlm_cli.training.run_folder import RunFolder
from pdlm_cli.training.samples import Sample, Samples, settle_worker
from pdlm_cli.training.sharding import gathered, is_sharded
from pdlm_cli.training.start import parameter_groups, recompute_activations

SCHEDULER = "scheduler.pt"


@dataclass(frozen=True)
class Parts:
    """What a run is made of, beside the model."""

    job: TrainJob
    folder: RunFolder
    samples: Samples
    held_out: HeldOut | None
    prior: Tensor | None
    bad: BadSamples
    meter: Meter
    stop: StopSignals


class PdlmTrainer(Trainer):
    """Feeds TrainingBatch objects to `model(batch, aim)`."""

    optimizer: torch.optim.Optimizer | None
    control: TrainerControl

    def __init__(self, model: PerceptionDLMBase, arguments: TrainingArguments, parts: Parts) -> None:
        self.parts = parts
        self.collator = Collator.of(parts.job, model.config, model.tokens, parts.prior)
        self.plain_model = model  # never wrapped
        state = PartialState()
        if arguments.fsdp and state.distributed_type == DistributedType.MULTI_CPU:
            # accelerate shards on every kind of device but CPU, where it would fall back to DDP without a word.
            state.distributed_type = DistributedType.MULTI_GPU
        if parts.job.gradient_checkpointing:
            recompute_activations(model)
        super().__init__(
            model=model,
            args=arguments,
            data_collator=self.collator,
            train_dataset=parts.samples,
            eval_dataset=parts.held_out.samples if parts.held_out is not None else None,
        )
        self.loss_is_scaled_for_ga = False  # the loss is the mean of a micro-batch
        self.remove_callback(PrinterCallback)
        self.add_callback(Watcher(parts))

    def get_train_dataloader(self) -> DataLoader[Sample]:
        """Not prepared by accelerate, which would share batches out among processes once more."""
        job, rank, processes = self.parts.job, self.args.process_index, self.args.world_size
        return DataLoader(
            self.parts.samples,
            batch_sampler=MicroBatches(job, self.parts.samples, self.args.max_steps, rank=rank, processes=processes),
            collate_fn=self.collator,
            num_workers=job.data.workers,
            worker_init_fn=settle_worker,
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[TrainingBatch], num_batches: int, device: torch.device
    ) -> tuple["Forwards", None]:
        return Forwards(epoch_iterator, num_batches), None

    def _prepare_inputs(self, inputs: TrainingBatch) -> TrainingBatch:
        return inputs.to(self.args.device)

    def compute_loss(
        self, model: nn.Module, inputs: TrainingBatch, return_outputs: bool = False, num_items_in_batch: None = None
    ) -> Tensor:
        self.parts.bad.note(inputs.problems)
        loss: Tensor = model(inputs.batch, inputs.aim)
        return loss

    def floating_point_ops(self, inputs: TrainingBatch) -> float:
        """Asked for once a forward, with the batch as it still lies in host memory: to count what lies on a device
        would wait for all that it has to do."""
        flops, processes = batch_flops(self.plain_model, inputs), self.args.world_size
        self.parts.meter.add(inputs.tokens * processes, flops * processes)
        return flops

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            settings = self.parts.job.optimizer
            groups = parameter_groups(model or self.model, settings)
            kind = MuonAdamW if settings.method == "muon" else torch.optim.AdamW
            self.optimizer = kind(groups, betas=settings.betas, eps=settings.eps)
        return self.optimizer

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss and captions of the held-out samples. Every process computes them all, which sharded weights need."""
        held_out = self.parts.held_out
        assert held_out is not None
        with self.parts.meter.aside():
            metrics = held_out.losses(self.model_wrapped, self.args.device)
            writer, sharded = self.args.process_index == 0, is_sharded(self.plain_model)
            if self.parts.job.objective != "words" and (writer or sharded):  # shards are gathered by all together
                folder = self.parts.folder.samples if writer else None
                cache = "none" if sharded else "auto"  # with one, parts of blocks are called by themselves
                with gathered(self.plain_model):
                    metrics |= held_out.write_captions(self.plain_model, folder, self.state.global_step, cache)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """To the log, the bar and the callbacks (TensorBoard, ...)."""
        if "train_runtime" in logs:
            return
        if "loss" in logs:
            logs |= self.parts.meter.read()
            # The gradient too: its step is taken by now, the loss would only tell after the checkpoint that follows.
            for name, said in {"loss": "loss", "grad_norm": "norm of the gradient"}.items():
                if not math.isfinite(logs.get(name, 0.0)):
                    raise DeviceError(
                        f"the {said} is {logs[name]} at step {self.state.global_step}; go on from the last checkpoint "
                        "with --resume, or with a lower optimizer.lr in another output"
                    )
        self.state.epoch = self._epoch()
        super().log(logs)
        if self.args.process_index == 0:
            line = ", ".join(f"{name.removeprefix('eval_')} {value:.4g}" for name, value in logs.items())
            if "loss" in logs:
                self.parts.meter.show(logs)
            kind = "evaluation" if "eval_loss" in logs else "step"
            facts = {"facts": {"event": kind, "step": self.state.global_step, **logs}}
            log.info("%s %d of %d: %s", kind, self.state.global_step, self.state.max_steps, line, extra=facts)

    def _epoch(self) -> float:
        epoch, row = self.parts.samples.stream.locate(self.state.global_step * self.parts.job.batch)
        return epoch.number + row / len(epoch)

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Whole weights of a checkpoint; those that FSDP2 shards are not written here. state_dict: of ZeRO."""
        if not self.args.should_save:
            return
        folder = output_dir or self.args.output_dir
        if self.parts.job.lora is not None:
            save_trained_part(self.plain_model, Path(folder), state_dict)
        else:
            self.plain_model.save_pretrained(folder, state_dict=state_dict)

    def _save_checkpoint(self, model: nn.Module, trial: None) -> None:
        with self.parts.meter.aside():
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
                if self.is_fsdp_enabled:
                    self.plain_model.config.save_pretrained(checkpoint)
                    self.plain_model.tokens.tokenizer.save_pretrained(checkpoint)
                bad = self.parts.bad
                facts = {"step": self.state.global_step, "samples_seen": bad.seen, "bad_samples": bad.bad}
                self.parts.folder.mark_complete(checkpoint, facts)
                log.info("wrote %s", checkpoint, extra={"facts": {"event": "checkpoint", **facts}})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Nothing: the model had the weights of the checkpoint before it was wrapped."""

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or self.is_deepspeed_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None
        load_optimizer(self.model, self.optimizer, Path(checkpoint))
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER, weights_only=True))

    def export(self, folder: Path) -> None:
        """Write the whole model as safetensors, gathered from all processes, adapters made part of it. The last thing
        that is done with it: it has the precision of the export afterwards."""
        job = self.parts.job
        state = self.accelerator.get_state_dict(self.model_wrapped)
        if not self.args.should_save:
            return
        if job.lora is not None:
            state = merged(state, job.lora)
        if job.export == "bf16":
            self.plain_model.to(torch.bfloat16)  # which its config states
            state = {name: value.to(torch.bfloat16) for name, value in state.items()}
        self.plain_model.save_pretrained(folder, state_dict=state)


class Forwards:
    """The batches of a step, `count` of them, each taken when its turn comes: every tensor that a worker hands over
    keeps a file open and its memory shared, and a step may have hundreds of forwards."""

    def __init__(self, batches: Iterator[TrainingBatch], count: int) -> None:
        self.batches, self.count = batches, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[TrainingBatch]:
        return islice(self.batches, self.count)


class Watcher(TrainerCallback):
    """How often a run reports; after every step the bar, bad samples, and whether a signal asks to stop."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        state.compute_steps(args, state.max_steps)  # of this run's job: a checkpoint holds those of the run before

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        self.parts.meter.step(state.global_step)
        samples = self.parts.bad
        stop, bad = self._of_all_processes(args, int(self.parts.stop.received is not None), len(samples.noted))
        told = self._told_by_all_processes(args, samples.noted[: samples.to_show]) if bad and samples.to_show else []
        samples.count(self.parts.job.batch, bad, told)
        if stop:
            control.should_save = control.should_training_stop = True
        # What is logged is the mean since the last time; cut where a resumed run will start counting, too.
        control.should_log = control.should_log or control.should_save
        return control

    def _of_all_processes(self, args: TrainingArguments, *counts: int) -> tuple[int, ...]:
        """Their sums: all must stop after the same step, on a signal to any of them and for the same reason."""
        if args.world_size == 1:
            return counts
        sums = torch.tensor(counts, device=args.device)
        dist.all_reduce(sums)
        return tuple(sums.tolist())

    def _told_by_all_processes(self, args: TrainingArguments, texts: list[str]) -> list[str]:
        """Only one of them writes the log."""
        if args.world_size == 1:
            return texts
        told: list[list[str]] = [[] for _ in range(args.world_size)]
        dist.all_gather_object(told, texts)
        return [text for own in told for text in own]
