"""Rows of several passes in one forward of the decoder, each attending to keys and values of its own pass.

The rows of all passes lie one after the other, so that every product is one product and nothing is padded, whatever the
numbers of tiles and regions; only attention goes pass by pass, or takes them padded to the longest. What is forwarded:

    prefill 1   | context of pass 0 | context of pass 1 | ...     no mask: context sees context
    prefill 2   | RoIs of pass 0 | RoIs of pass 1 | ...           RoIs see context and their own
    each step   | captions of pass 0 | captions of pass 1 | ...   captions see context, their RoI and their own
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from model.key_buffers import KeyBuffers

ATTENTION = "packed_passes"


@dataclass(frozen=True)
class Span:
    """Rows that attend together, Q of each of B lanes, at the same places of all.

    rows: (B Q) which of the packed rows they are, lane by lane. places: Q that they write. sees: K places that they may
    attend to, their own the last. mask: (B, 1, Q, K) as `KeyBuffers.mask` has it, None for all of them.
    """

    rows: Tensor | slice
    lanes: slice
    places: slice
    sees: slice
    mask: Tensor | None


@dataclass(frozen=True)
class Attending:
    """Whom all packed rows attend to. order: (N,) which of the rows of `spans` each of them is, None for the same."""

    buffers: KeyBuffers
    spans: Sequence[Span]
    order: Tensor | None = None

    def write(self, span: Span, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of packed rows (1, heads, N, head width); all that the span sees, (B, heads, K, head width)."""
        seen = []
        for kept, packed in ((self.buffers.keys, keys), (self.buffers.values, values)):
            own = kept[layer][span.lanes]
            own[:, :, span.places] = _of_lanes(span, packed)
            seen.append(own[:, :, span.sees])
        return seen[0], seen[1]


def _of_lanes(span: Span, packed: Tensor) -> Tensor:
    """(B, heads, Q, head width) of packed rows (1, heads, N, head width)."""
    return packed[0, :, span.rows].unflatten(1, (span.lanes.stop - span.lanes.start, -1)).transpose(0, 1)


def attend_apart(buffers: KeyBuffers, counts: Mapping[int, int]) -> Attending:
    """Captions lane by lane. counts: how many packed rows are of each lane, in order."""
    spans, start = [], 0
    for lane, count in counts.items():
        lanes, places = slice(lane, lane + 1), slice(buffers.begin, buffers.begin + count)
        sees = slice(buffers.begin - buffers.prefixes[lane], places.stop)
        rows = slice(start, start + count)
        spans.append(Span(rows, lanes, places, sees, buffers.mask(lanes, places, sees)))
        start += count
    return Attending(buffers, spans)


def attend_together(buffers: KeyBuffers, counts: Mapping[int, int]) -> Attending:
    """Captions of all lanes at once, padded to the longest. counts: as above. Rows that pad are copies of the first one
    of their own lane, as NaN would get through a mask, and what comes of them is left out."""
    lanes, most = slice(min(counts), max(counts) + 1), max(counts.values())
    places = slice(buffers.begin, buffers.begin + most)
    sees = slice(buffers.begin - max(buffers.prefixes[lane] for lane in counts), places.stop)
    order = torch.cat([(lane - lanes.start) * most + torch.arange(count) for lane, count in counts.items()])
    rows, place, start = torch.zeros(lanes.stop - lanes.start, most, dtype=torch.long), torch.arange(most), 0
    for lane, count in counts.items():
        rows[lane - lanes.start] = start + torch.where(place < count, place, 0)
        start += count
    device = buffers.kind.device
    span = Span(rows.flatten().to(device), lanes, places, sees, buffers.mask(lanes, places, sees))
    return Attending(buffers, [span], order.to(device))


def run_packed(decoder: LlamaModel, embeds: Tensor, positions: Tensor, attending: Attending) -> Tensor:
    """Hidden states (N, D) of packed rows: embeddings (N, D) at positions (N,)."""
    hidden, _ = _run_layers(decoder, decoder.layers, embeds, positions, attending)
    return decoder.norm(hidden)[0]


def prefill_packed(decoder: LlamaModel, embeds: Tensor, positions: Tensor, attending: Attending) -> None:
    """Write keys and values of packed rows whose hidden states nobody asks for: all that the last layer is run for."""
    hidden, rotation = _run_layers(decoder, decoder.layers[:-1], embeds, positions, attending)
    layer: Any = decoder.layers[-1]
    rows, attention = layer.input_layernorm(hidden), layer.self_attn
    keys, values = (
        project(rows).unflatten(2, (-1, attention.head_dim)).transpose(1, 2)
        for project in (attention.k_proj, attention.v_proj)
    )
    _, keys = apply_rotary_pos_emb(keys, keys, *rotation)
    for span in attending.spans:
        attending.write(span, attention.layer_idx, keys, values)


def _run_layers(
    decoder: LlamaModel, layers: Iterable[nn.Module], embeds: Tensor, positions: Tensor, attending: Attending
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Hidden states (1, N, D) after some layers, and the rotation of the positions, cosines and sines."""
    hidden = embeds[None]
    rotation = decoder.rotary_emb(hidden, positions[None])
    with _attending_by_span(decoder.config):
        for layer in layers:
            hidden = layer(hidden, position_embeddings=rotation, attending=attending)
    return hidden, rotation


def attend_by_span(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    attending: Attending,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """What transformers' decoder layers call: (1, heads, N, head width) each, to (1, N, heads, head width)."""
    grouped = query.shape[1] != key.shape[1]
    outputs = []
    layer: Any = module.layer_idx
    for span in attending.spans:
        keys, values = attending.write(span, layer, key, value)
        own = _of_lanes(span, query)
        found = F.scaled_dot_product_attention(own, keys, values, span.mask, scale=scaling, enable_gqa=grouped)
        outputs.append(found.transpose(1, 2).flatten(0, 1))
    together = torch.cat(outputs)
    return (together if attending.order is None else together[attending.order])[None], None


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
