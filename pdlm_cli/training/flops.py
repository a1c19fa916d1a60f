"""Estimates of work and memory, for model FLOP utilisation and for choosing a batch before the device is there."""

from itertools import groupby

from model.pdlm import PerceptionDLMBase
from model.words import aims
from pdlm_cli.flops import multiplied
from pdlm_cli.training.collate import TrainingBatch
from pdlm_cli.training.sharding import whole_size
from pdlm_cli.training.start import parameter_counts

# Values kept for the backward pass per token and block, in widths: inputs of norms and projections, attention, MLP.
KEPT_WIDTHS = 34


def batch_flops(model: PerceptionDLMBase, inputs: TrainingBatch) -> float:
    """Operations of forward and backward, of matrices with parameters (Kaplan et al. 2020, section 2.1).

    Two a parameter and token forward, two more for the gradient of its inputs if something learns up to there, two for
    its own gradient if it learns. Attention scores, padding and what is computed once more for want of memory are not
    counted: utilisation is what useful work the device does, a little less than the truth.
    """
    batch = inputs.batch
    patches = len(batch.tiles) * model.config.patch_grid**2
    noise, words = aims(inputs.aim)
    # Logits are only computed where the loss counts.
    read, labels = 0, 0 if words is None else len(words.present)
    if noise is not None:
        read, labels = inputs.tokens, labels + int((noise.weights(batch.labelled) > 0).sum())
    rows = {
        "regions": 0,
        "vision": patches,
        "connector": patches // model.config.unshuffle**2,
        "decoder": read,
        "head": labels,
    }
    total, learns = 0.0, False
    for part, own in groupby(multiplied(model), key=lambda item: item[0]):  # in the order that data takes
        parameters = [(name, parameter) for _, name, parameter in own]
        learns = learns or any(parameter.requires_grad for _, parameter in parameters)
        for name, parameter in parameters:
            back = learns and "patch_embedding" not in name  # before which there are only pixels
            total += (2 + 2 * back + 2 * parameter.requires_grad) * whole_size(parameter) * rows[part]
    return total


def memory_bytes(model: PerceptionDLMBase, inputs: TrainingBatch, *, bf16: bool, checkpointing: bool) -> dict[str, int]:
    """Bytes on one device without sharding: fp32 weights, gradients and two moments of AdamW, and activations of one
    micro-batch. The last is a rule of thumb, good to a factor of two."""
    counts = parameter_counts(model)
    trainable = sum(count["trainable"] for count in counts.values())
    weights = sum(count["trainable"] + count["frozen"] for count in counts.values())
    width, text, vision = (2 if bf16 else 4), model.config.text_config, model.config.vision_config
    rows = inputs.batch.kind.numel()
    patches = len(inputs.batch.tiles) * model.config.patch_grid**2
    per_block = rows * text.hidden_size * width, patches * vision.hidden_size * width
    blocks = text.num_hidden_layers, vision.num_hidden_layers
    if checkpointing:
        kept = sum(size * count for size, count in zip(per_block, blocks, strict=True)) + KEPT_WIDTHS * max(per_block)
    else:
        kept = sum(KEPT_WIDTHS * size * count for size, count in zip(per_block, blocks, strict=True))
    labelled = int(inputs.batch.labelled.sum())
    return {
        "weights": 4 * weights,
        "gradients": 4 * trainable,
        "optimizer": 8 * trainable,
        "activations": kept,
        "logits": 3 * 4 * labelled * text.vocab_size,
    }
