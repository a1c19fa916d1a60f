"""Rows of several passes in one forward of the decoder, each attending to keys and values of its own pass.

The rows of all passes lie one after the other, so that every product is one product and nothing is padded, whatever the
numbers of tiles and regions; only attention goes pass by pass. Keys and values stay where they were written:

    buffer of a pass   | context | RoIs | captions that are not done |
    prefill 1            ^^^^^^^                                        no mask: context sees context
    prefill 2                      ^^^^                                 RoIs see context and themselves
    each step                             ^^^^^^^^^^^^^^^^^^^^^^^^^^    captions see context, their RoI, themselves
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

ATTENTION = "packed_passes"


class KeyBuffer:
    """Keys and values (2, layers, heads, length, head width) of a pass."""

    def __init__(self, config: LlamaConfig, length: int, dtype: torch.dtype, device: torch.device) -> None:
        shape = (2, config.num_hidden_layers, config.num_key_value_heads, length, config.head_dim)
        self.length = length
        self._kept = torch.empty(shape, dtype=dtype, device=device)

    def write(self, layer: int, keys: Tensor, values: Tensor, at: int) -> tuple[Tensor, Tensor]:
        """Put keys and values (1, heads, Q, head width) at the places from `at` on; all up to the last of them."""
        stop = at + keys.shape[2]
        own = self._kept[:, layer, None]
        own[0, :, :, at:stop] = keys
        own[1, :, :, at:stop] = values
        return own[0, :, :, :stop], own[1, :, :, :stop]


@dataclass(frozen=True)
class Span:
    """Rows of one pass. rows: where they lie in the packed sequence. at: place of the first of them in the buffer.
    mask: (Q, at + Q) bool, what they may attend to of the buffer, None for all of it."""

    rows: slice
    buffer: KeyBuffer
    at: int
    mask: Tensor | None


def run_packed(decoder: LlamaModel, embeds: Tensor, positions: Tensor, spans: Sequence[Span]) -> Tensor:
    """Hidden states (N, D) of packed rows: embeddings (N, D) at positions (N,)."""
    hidden, _ = _run_layers(decoder, decoder.layers, embeds, positions, spans)
    return decoder.norm(hidden)[0]


def prefill_packed(decoder: LlamaModel, embeds: Tensor, positions: Tensor, spans: Sequence[Span]) -> None:
    """Write keys and values of packed rows whose hidden states nobody asks for: all that the last layer is run for."""
    hidden, rotation = _run_layers(decoder, decoder.layers[:-1], embeds, positions, spans)
    layer: Any = decoder.layers[-1]
    rows, attention = layer.input_layernorm(hidden), layer.self_attn
    keys, values = (
        project(rows).unflatten(2, (-1, attention.head_dim)).transpose(1, 2)
        for project in (attention.k_proj, attention.v_proj)
    )
    _, keys = apply_rotary_pos_emb(keys, keys, *rotation)
    for span in spans:
        span.buffer.write(attention.layer_idx, keys[:, :, span.rows], values[:, :, span.rows], span.at)


def _run_layers(
    decoder: LlamaModel, layers: Iterable[nn.Module], embeds: Tensor, positions: Tensor, spans: Sequence[Span]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Hidden states (1, N, D) after some layers, and the rotation of the positions, cosines and sines."""
    hidden = embeds[None]
    rotation = decoder.rotary_emb(hidden, positions[None])
    with _attending_by_span(decoder.config):
        for layer in layers:
            hidden = layer(hidden, position_embeddings=rotation, spans=spans)
    return hidden, rotation


def attend_by_span(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    spans: Sequence[Span],
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """What transformers' decoder layers call: (1, heads, N, head width) each, to (1, N, heads, head width)."""
    grouped = query.shape[1] != key.shape[1]
    outputs = []
    layer: Any = module.layer_idx
    for span in spans:
        keys, values = span.buffer.write(layer, key[:, :, span.rows], value[:, :, span.rows], span.at)
        own = query[:, :, span.rows]
        outputs.append(F.scaled_dot_product_attention(own, keys, values, span.mask, scale=scaling, enable_gqa=grouped))
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(ATTENTION, attend_by_span)


@contextmanager
def _attending_by_span(config: LlamaConfig) -> Iterator[None]:
    """The layers are transformers' own and look up their attention in the config, by name, in every forward."""
    usual = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = usual
