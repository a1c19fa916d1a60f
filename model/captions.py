"""What decoding gives: captions of regions and of passes."""

from dataclasses import dataclass
from typing import Literal


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
    """captions, slots: in the order of the masks. together: passes of the batch the pass was in. encode_ms, decode_ms:
    of that whole batch. broken: the model gave NaN or infinity for this pass, and the captions mean nothing."""

    captions: list[Caption]
    slots: list[int]
    together: int
    encode_ms: float
    decode_ms: float
    broken: bool
