"""What the 8B model takes on a card of 24 and of 12 GB: `python -m tests.memory_plan`. Computed, not run.

Weights from their shapes, one pass from the config (`model/memory.py`): bf16, seven tiles of 512 pixels, six regions,
32 tokens a caption, LLaDA's vocabulary. CONTEXT is set aside for CUDA itself, KEPT_FREE of the rest for what is not
counted.
"""

import torch
from torch import nn

from model.config import PerceptionDLMConfig
from model.memory import KEPT_FREE, pass_bytes
from model.pdlm import PerceptionDLM
from model.quantize import STORAGES
from model.regions import RegionConfig
from model.settings import DecodeSettings
from model.sizes import SIZES, size_config

GIB = 2**30
CARDS = (24, 12)  # GiB
CONTEXT = 0.6 * GIB
BF16 = 2


def config_8b() -> PerceptionDLMConfig:
    return size_config(SIZES["8b"], RegionConfig.isolated(max_regions=6, roi_size=4))


def weight_bytes(config: PerceptionDLMConfig, element: int, quantize: str | None) -> int:
    """Bytes of all weights as they are held. element: bytes of a number in their dtype. quantize: a key of STORAGES."""
    with torch.device("meta"):  # shapes without memory
        model = PerceptionDLM(config)
    every = sum(weight.numel() for weight in model.parameters())
    if quantize is None:
        return every * element
    small = sum(layer.weight.numel() for layer in _decoder_linears(model))
    return (every - small) * element + round(small * STORAGES[quantize].bits / 8)


def restored_bytes(config: PerceptionDLMConfig, element: int) -> int:
    """Most bytes that a quantized weight takes beside itself while it is used: the largest one restored, and the
    places of its levels."""
    with torch.device("meta"):
        model = PerceptionDLM(config)
    return max(layer.weight.numel() for layer in _decoder_linears(model)) * (element + 2)


def _decoder_linears(model: PerceptionDLM) -> list[nn.Linear]:
    return [layer for layer in model.language_model.model.modules() if isinstance(layer, nn.Linear)]


def room(card: int, quantize: str | None) -> int:
    """Passes of a batch that fit beside the weights; 0 if none does. card: GiB."""
    config = config_8b()
    held = weight_bytes(config, BF16, quantize) + (restored_bytes(config, BF16) if quantize else 0)
    free = (card * GIB - CONTEXT - held) * (1 - KEPT_FREE)
    return max(0, int(free // pass_bytes(config, DecodeSettings(), BF16)))


def table() -> str:
    """Markdown: a row a way to store weights."""
    config = config_8b()
    one = pass_bytes(config, DecodeSettings(), BF16) / GIB
    lines = [
        "| `--quantize` | weights | a weight restored | a pass | together | passes in 24 GB | in 12 GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in (None, *STORAGES):
        weights = weight_bytes(config, BF16, kind) / GIB
        restored = restored_bytes(config, BF16) / GIB if kind else 0.0
        fits = " | ".join(str(room(card, kind) or "none") for card in CARDS)
        name = kind or "not given"
        lines.append(
            f"| {name} | {weights:.1f} | {restored:.1f} | {one:.1f} | {weights + restored + one:.1f} GiB | {fits} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
