"""Keys and values of a pass, kept between denoising steps.

Buffers hold prefix and answer side by side and are written in place: what was computed once is never copied.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig


class SpanCache:
    """Key and value buffers (B, heads, L, head width) of every layer.

    `aim` says which places the next forward writes; it then attends to all places up to the last one written. Of
    transformers' cache only what its decoder calls is here, as masks and positions are always given.
    """

    def __init__(self, config: LlamaConfig, batch: int, length: int, dtype: torch.dtype, device: torch.device) -> None:
        shape = (batch, config.num_key_value_heads, length, config.head_dim)
        layers = range(config.num_hidden_layers)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in layers]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in layers]
        self._span = slice(0, 0)

    def aim(self, span: slice) -> None:
        self._span = span

    def get_seq_length(self) -> int:
        """Places before those that the next forward writes."""
        return self._span.start

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the aimed-at places; all keys and values up to their end."""
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        keys[:, :, self._span] = key_states
        values[:, :, self._span] = value_states
        return keys[:, :, : self._span.stop], values[:, :, : self._span.stop]
