"""What the 8B model takes on a card of 24 and of 12 GB: `python -m tests.memory_plan`. Computed, not run.

Weights and one pass from the config (`model/memory.py`): bf16, seven tiles of 512 pixels, six regions, 32 tokens a
caption, LLaDA's vocabulary. CONTEXT is set aside for CUDA itself, KEPT_FREE of the rest for what is not counted.
"""

from model.config import PerceptionDLMConfig
from model.decode import DecodeSettings
from model.memory import KEPT_FREE, pass_bytes, restored_bytes, weight_bytes
from model.quantize import STORAGES
from model.regions import RegionConfig
from model.sizes import SIZES, size_config

GIB = 2**30
CARDS = (24, 12)  # GiB
CONTEXT = 0.6 * GIB
BF16 = 2


def config_8b() -> PerceptionDLMConfig:
    return size_config(SIZES["8b"], RegionConfig.isolated(max_regions=6, roi_size=4))


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
