"""What decoding gives: captions of regions and of passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # which costs an import of torch
    from model.tokens import Tokens


@dataclass(frozen=True)
class Caption:
    """One region's caption. tokens: ids before the end token. mean_confidence: of its tokens and the end token, each
    when it was written. denoise_steps: steps in which it still had slots to write."""

    text: str
    tokens: list[int]
    finish_reason: Literal["eos", "length"]
    tokens_generated: int
    mean_confidence: float
    denoise_steps: int


@dataclass(frozen=True)
class PassCaptions:
    """captions, slots: in the order of the masks. together: passes on the device when this one came, itself counted.
    encode_ms: from then to its image and RoI features, with those that came with it. decode_ms: from those to its last
    caption, beside the others. encode_share_ms, decode_share_ms: its even share of that time, so that the shares of all
    passes add up. broken: the model gave NaN or infinity for this pass, and the captions mean nothing."""

    captions: list[Caption]
    slots: list[int]
    together: int
    encode_ms: float
    decode_ms: float
    encode_share_ms: float
    decode_share_ms: float
    broken: bool


def cut_caption(tokens: "Tokens", ids: Sequence[int], confidence: Sequence[float], steps: int) -> Caption:
    """The caption in a span of slots: what comes before its own first end token."""
    length = next((place for place, token in enumerate(ids) if token in tokens.ends), len(ids))
    counted = confidence[: length + 1]
    return Caption(
        text=tokens.decode(ids[:length]),
        tokens=list(ids[:length]),
        finish_reason="eos" if length < len(ids) else "length",
        tokens_generated=length,
        mean_confidence=sum(counted) / len(counted),
        denoise_steps=steps,
    )
