"""Estimates of work and memory, for model FLOP utilisation and for choosing a batch before the device is there."""

from model.pdlm import PerceptionDLMBase
from pdlm_cli.training.collate import TrainingBatch
from pdlm_cli.training.start import parameter_counts

# Values kept for the backward pass per token and block, in widths: inputs of norms and projections, attention, MLP.
KEPT_WIDTHS = 34


def batch_flops(model: PerceptionDLMBase, inputs: TrainingBatch) -> float:
    """Operations of forward and backward: two a parameter and token forward, two for the gradient of the inputs, two
    for that of the parameters where they learn (Kaplan et al. 2020, section 2.1, without the attention scores)."""
    batch = inputs.batch
    patches = len(batch.tiles) * model.config.patch_grid**2
    tokens = {
        "vision": patches,
        "connector": patches // model.config.unshuffle**2,
        "decoder": inputs.tokens,
        "regions": 0,
    }
    vocabulary = model.config.text_config.vocab_size * model.config.text_config.hidden_size
    total = 0.0
    for module, counts in parameter_counts(model).items():
        frozen, trainable = counts["frozen"], counts["trainable"]
        if module == "decoder":
            # Embeddings are looked up; logits are only computed where the loss counts.
            head = 6 * vocabulary * int(inputs.noise.hit.sum())
            total += head - (6 if trainable else 4) * 2 * vocabulary * tokens[module]
        total += (6 * trainable + 4 * frozen) * tokens[module]
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
