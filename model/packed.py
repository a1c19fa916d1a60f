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
    """Rows that attend together, Q of each of B lanes.

    rows: (B Q) which of the packed rows they are, lane by lane. sees: K places that they may attend to, the same of all
    lanes. mask: (B, 1, Q, K) as `KeyBuffers.mask` has it, None for all of them.
    """

    rows: Tensor | slice
    lanes: slice
    sees: slice
    mask: Tensor | None

    def of(self, packed: Tensor) -> Tensor:
        """(B, heads, Q, head width) of packed rows (1, heads, N, head width)."""
        return packed[0, :, self.rows].unflatten(1, (self.lanes.stop - self.lanes.start, -1)).transpose(0, 1)


@dataclass(frozen=True)
class Attending:
    """Where packed rows leave their keys and values, and whom they attend to.

    lanes, places: (N,) in the buffers, of each row. order: (N,) which of the rows of `spans` each of them is, None for
    the same.
    """

    buffers: KeyBuffers
    lanes: Tensor
    places: Tensor
    spans: Sequence[Span]
    order: Tensor | None = None

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Of packed rows (1, heads, N, head width)."""
        for kept, packed in ((self.buffers.keys, keys), (self.buffers.values, values)):
            kept[layer][self.lanes, :, self.places] = packed[0].transpose(0, 1)


def attend_prefixes(buffers: KeyBuffers, rows: Mapping[int, slice], *, masked: bool) -> Attending:
    """Prefixes lane by lane. rows: those of its prefix that each lane is forwarded; they may attend to all before them
    and to each other. masked: whether some of these are not theirs to see."""
    spans, places, start = [], {}, 0
    for lane, own in rows.items():
        first, stop = (buffers.begin - buffers.prefixes[lane] + row for row in (own.start, own.stop))
        only, sees = slice(lane, lane + 1), slice(first - own.start, stop)
        mask = buffers.mask(only, slice(first, stop), sees) if masked else None
        spans.append(Span(slice(start, start + stop - first), only, sees, mask))
        places[lane] = torch.arange(first, stop)
        start += stop - first
    return Attending(buffers, *_written(buffers, places), spans)


def attend_apart(buffers: KeyBuffers, places: Mapping[int, Tensor]) -> Attending:
    """Captions lane by lane. places: of those rows that each lane is forwarded, in order."""
    spans, start = [], 0
    for lane, own in places.items():
        lanes, sees = slice(lane, lane + 1), buffers.sees([lane])
        spans.append(Span(slice(start, start + len(own)), lanes, sees, buffers.mask(lanes, own[None], sees)))
        start += len(own)
    return Attending(buffers, *_written(buffers, places), spans)


def attend_together(buffers: KeyBuffers, places: Mapping[int, Tensor]) -> Attending:
    """Captions of all lanes at once, padded to the longest. places: as above. Rows that pad are copies of the first one
    of their own lane, as NaN would get through a mask; those of a lane without captions are of any. What comes of them
    is left out."""
    lanes, most = slice(min(places), max(places) + 1), max(len(own) for own in places.values())
    order = torch.cat([(lane - lanes.start) * most + torch.arange(len(own)) for lane, own in places.items()])
    shape = lanes.stop - lanes.start, most
    packed, asked, start = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long), 0
    for lane, own in places.items():
        row = torch.arange(most)
        row = torch.where(row < len(own), row, 0)
        packed[lane - lanes.start], asked[lane - lanes.start] = start + row, own[row]
        start += len(own)
    device, sees = buffers.kind.device, buffers.sees(places)
    span = Span(packed.flatten().to(device), lanes, sees, buffers.mask(lanes, asked, sees))
    return Attending(buffers, *_written(buffers, places), [span], order.to(device))


def _written(buffers: KeyBuffers, places: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Lane and place of each packed row, of the places of each lane."""
    lanes = torch.cat([torch.full_like(own, lane) for lane, own in places.items()])
    device = buffers.kind.device
    return lanes.to(device), torch.cat(list(places.values())).to(device)


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
    attending.write(attention.layer_idx, keys, values)


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
    buffers, grouped = attending.buffers, query.shape[1] != key.shape[1]
    outputs = []
    layer: Any = module.layer_idx
    attending.write(layer, key, value)
    for span in attending.spans:
        keys, values = (kept[layer][span.lanes, :, span.sees] for kept in (buffers.keys, buffers.values))
        found = F.scaled_dot_product_attention(
            span.of(query), keys, values, span.mask, scale=scaling, enable_gqa=grouped
        )
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
