"""`pdlm train --dry-run`: all that can be known before the first step."""

import torch
import yaml

from model.preprocess import PreparedPass
from pdlm_cli.training.collate import Collator, MicroBatches
from pdlm_cli.training.flops import memory_bytes
from pdlm_cli.training.job import TrainJob
from pdlm_cli.training.run import Prepared, prepare, process_count
from pdlm_cli.training.samples import Sample
from pdlm_cli.training.show import mask_letters
from pdlm_cli.training.start import parameter_counts

GIB = 2**30


def describe(job: TrainJob) -> str:
    """The resolved job, parameters, steps, memory and the first batch, as text. Raises PdlmError."""
    processes = process_count()
    ready = prepare(job)
    places = next(iter(MicroBatches(job, ready.samples, ready.steps, rank=0, processes=processes)))
    samples = [ready.samples[place] for place in places]
    parts = [
        "# the job\n" + yaml.safe_dump(job.to_dict(), sort_keys=False).rstrip(),
        "# parameters\n" + _parameters(ready),
        "# steps\n" + _steps(job, ready, processes),
        "# memory of one device, without sharding (activations: a rule of thumb)\n" + _memory(job, ready, samples),
        *(f"# sample {sample.place}\n" + _sample(ready, sample) for sample in samples),
    ]
    return "\n\n".join(parts)


def _parameters(ready: Prepared) -> str:
    lines = [f"{'module':<10} {'trainable':>15} {'frozen':>15}"]
    for module, counts in parameter_counts(ready.model).items():
        lines.append(f"{module:<10} {counts['trainable']:>15,} {counts['frozen']:>15,}")
    return "\n".join(lines)


def _steps(job: TrainJob, ready: Prepared, processes: int) -> str:
    samples = ready.samples.stream.length(1)
    accumulation = job.accumulation(processes)
    return (
        f"{ready.steps:,} steps of {job.batch} samples = {processes} processes x {accumulation} forwards x "
        f"{job.micro_batch}\n{samples:,} samples in the first epoch, {ready.steps * job.batch / samples:.2f} epochs"
    )


def _memory(job: TrainJob, ready: Prepared, samples: list[Sample]) -> str:
    batch = Collator.of(job, ready.model.config, ready.model.tokens, ready.prior)(samples)
    sizes = memory_bytes(ready.model, batch, bf16=job.precision == "bf16", checkpointing=job.gradient_checkpointing)
    lines = [f"{name:<12} {size / GIB:>9.3f} GiB" for name, size in sizes.items()]
    return "\n".join([*lines, f"{'in all':<12} {sum(sizes.values()) / GIB:>9.3f} GiB"])


def _sample(ready: Prepared, sample: Sample) -> str:
    tokens, layout = ready.model.tokens, sample.layout
    lines = [
        *("picture {} x {}, {} x {} tiles".format(*image.size, *image.grid) for image in sample.images),
        f"{len(layout.input_ids)} tokens, {int(layout.labelled.sum())} of them learnt",
        f"prompt: {_folded(tokens.tokenizer.decode(layout.input_ids[: layout.prefix].tolist()))}",
    ]
    if isinstance(sample.prepared, PreparedPass):
        for slot, text in enumerate(sample.texts):
            prepared = sample.prepared
            own = prepared.footprints[slot]
            lines.append(
                f"slot {slot}: marker {prepared.markers[slot]}, region prompt {prepared.prompts[slot]} on "
                f"{int(own.sum())} patches, box {[round(float(edge), 3) for edge in prepared.boxes[slot]]}"
            )
            span = layout.slots[slot]
            lines.append(f"  {text!r} as {_folded(tokens.tokenizer.decode(_learnt(layout.input_ids, span)))!r}")
        lines += ["patches (slot number, + where regions meet):", *(f"  {line}" for line in mask_letters(sample))]
    else:
        lines += [f"question: {sample.texts[0]!r}", f"answer: {sample.texts[1]!r}"]
    return "\n".join([*lines, *(f"skipped: {problem}" for problem in sample.problems)])


def _learnt(ids: torch.Tensor, span: torch.Tensor) -> list[int]:
    learnt: list[int] = ids[span[span >= 0]].tolist()
    return learnt


def _folded(text: str) -> str:
    """Runs of one special token written once, with their count."""
    words = text.replace("<", "\0<").replace(">", ">\0").split("\0")
    folded: list[tuple[str, int]] = []
    for word in (word for word in words if word):
        if folded and folded[-1][0] == word:
            folded[-1] = (word, folded[-1][1] + 1)
        else:
            folded.append((word, 1))
    return "".join(word if count == 1 else f"{word}x{count}" for word, count in folded)
