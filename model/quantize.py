"""Weights of the decoder's linear layers in 8 or 4 bits. What they multiply, and all other weights, stay as they are.

A weight is stored small and restored, to the dtype of what it multiplies, whenever it is used: less memory, not less
arithmetic. Plain torch, so that every device does the same.

    int8   whole numbers, -127 to 127, over the largest of each row
    fp8    floating point, 4 bits of exponent and 3 of fraction, over the largest of each row
    nf4    the 16 levels of QLoRA (2305.14314), over the largest of 64 neighbors in a row
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 64  # neighbors in a row that share a scale of nf4
INT8_MOST, FP8_MOST = 127.0, 448.0

# Quantiles of a normal distribution, as weights have it, with 0 among them.
NF4_LEVELS = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)


@dataclass(frozen=True)
class Storage:
    """How a weight is kept.

    bits: of one of its numbers, scales included. shrink: from (N, K) float32 to what is stored, its scales and the
    numbers that what is stored stands for, none where these are its own. restore: the other way, to a dtype.
    """

    bits: float
    shrink: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    restore: Callable[[Tensor, Tensor, Tensor, torch.dtype], Tensor]


class QuantizedLinear(nn.Module):
    """`nn.Linear` with a weight that is stored small."""

    weight: Tensor
    scale: Tensor
    levels: Tensor

    def __init__(self, linear: nn.Linear, storage: Storage) -> None:
        super().__init__()
        weight, scale, levels = storage.shrink(linear.weight.detach().float())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("levels", levels)  # on the device: made anew from the host, each use would wait for it
        self.bias = linear.bias
        self.storage = storage

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., K). To (..., N)."""
        return F.linear(x, self.restored(x.dtype), self.bias)

    def restored(self, dtype: torch.dtype) -> Tensor:
        """(N, K)."""
        return self.storage.restore(self.weight, self.scale, self.levels, dtype)


def quantize_decoder(decoder: nn.Module, kind: str, device: torch.device) -> None:
    """Store the weights of all linear layers of `decoder` as the `kind` of STORAGES, on `device`, one by one, so that
    the device never holds the decoder as it was.

    decoder: without the head, whose logits are compared with each other, and without embeddings. Raises ValueError
    if a layer's width does not go into groups.
    """
    for parent in list(decoder.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, name, QuantizedLinear(child.to(device), STORAGES[kind]))


def _shrink_int8(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scale = _largest(weight) / INT8_MOST
    return (weight / scale).round().to(torch.int8), scale, scale[:0]


def _shrink_fp8(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scale = _largest(weight) / FP8_MOST
    return (weight / scale).to(torch.float8_e4m3fn), scale, scale[:0]


def _restore_rows(stored: Tensor, scale: Tensor, _: Tensor, dtype: torch.dtype) -> Tensor:
    """stored: (N, K). scale: (N, 1)."""
    return stored.to(dtype).mul_(scale)  # not what comes out: that would leave the range of fp16


def _shrink_nf4(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """To (N, K / 2) bytes of two levels each, (N, K / GROUP, 1) scales, and (256, 2) the levels of each byte."""
    rows, width = weight.shape
    if width % GROUP:
        raise ValueError(f"nf4 needs decoder widths that are multiples of {GROUP}, found {width}; use int8 or fp8")
    groups = weight.view(rows, width // GROUP, GROUP)
    scale = _largest(groups).bfloat16()
    levels = torch.tensor(NF4_LEVELS, device=weight.device)
    nearest = torch.bucketize(groups / scale, (levels[1:] + levels[:-1]) / 2)
    first, second = nearest.view(rows, width // 2, 2).unbind(2)
    return (16 * first + second).to(torch.uint8), scale, torch.cartesian_prod(levels, levels)


def _restore_nf4(stored: Tensor, scale: Tensor, pairs: Tensor, dtype: torch.dtype) -> Tensor:
    groups = F.embedding(stored.int(), pairs.to(dtype)).view(len(stored), -1, GROUP)
    return groups.mul_(scale).view(len(stored), -1)


def _largest(weight: Tensor) -> Tensor:
    """Largest absolute value of the last dimension, which is kept. Rows of zeros have a scale too."""
    return weight.abs().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.bfloat16).tiny)


STORAGES = {
    "int8": Storage(8, _shrink_int8, _restore_rows),
    "fp8": Storage(8, _shrink_fp8, _restore_rows),
    "nf4": Storage(4 + 16 / GROUP, _shrink_nf4, _restore_nf4),
}
