"""Which rows of captions a step forwards: marker and slots of each caption that is not done.

They lie lane by lane and caption by caption. A step forwards all of them, or leaves some out, which the others see as
they were when they were last forwarded.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor
from transformers import LlamaModel

from model.key_buffers import KeyBuffers
from model.layout import Layout
from model.packed import Attending, attend_apart, attend_together, run_packed

# Padding costs a CPU what calls for each lane cost a GPU.
ATTEND: dict[str, Callable[[KeyBuffers, Mapping[int, Tensor]], Attending]] = {
    "cpu": attend_apart,
    "cuda": attend_together,
}


class CaptionRows:
    """length: slots of a caption.

    markers: (C, 1) ids of the token before the slots of each of C captions. forwarded: which of all rows a step
    forwards. positions: of these. attending: how these do.
    """

    def __init__(self, buffers: KeyBuffers, length: int) -> None:
        self.buffers, self.of_caption = buffers, torch.arange(1 + length)
        self.captions: Mapping[int, tuple[Layout, list[int]]] = {}

    def place(self, captions: Mapping[int, tuple[Layout, list[int]]], *, keep: bool) -> None:
        """After captions have come or gone: layout and regions of those of each lane. keep: whether some of their rows
        will be left out, so that keys and values have to go with them."""
        markers, positions, written = [], [], {}
        for lane, (layout, regions) in captions.items():
            first = layout.slots[regions, :1] - 1
            rows = (first + self.of_caption).flatten()
            markers.append(layout.input_ids[first])
            positions.append(layout.position_ids[rows])
            written[lane] = layout.kind[rows], layout.region[rows]
            before, placed = self.captions.get(lane, (None, []))
            if keep and before is layout and placed != regions:
                stay = torch.tensor([placed.index(region) for region in regions])
                self.buffers.keep(lane, (stay[:, None] * len(self.of_caption) + self.of_caption).flatten())
        self.captions = captions
        self.buffers.follow(written)
        self.markers, self.every_position = torch.cat(markers).to(self.buffers.kind.device), torch.cat(positions)

    def leave_out(self, read: Sequence[Sequence[bool]] | None) -> None:
        """read: of each caption, of each of its rows, whether the next steps do without it; None for no row."""
        read = read or [[False] * len(self.of_caption)] * len(self.markers)
        places, forwarded, first = {}, [], 0
        for lane, (_, regions) in self.captions.items():
            flat = chain.from_iterable(read[first : first + len(regions)])
            rows = torch.tensor([row for row, left_out in enumerate(flat) if not left_out])
            places[lane] = self.buffers.begin + rows
            forwarded.append(first * len(self.of_caption) + rows)
            first += len(regions)
        device, which = self.buffers.kind.device, torch.cat(forwarded)
        self.forwarded, self.positions = which.to(device), self.every_position[which].to(device)
        self.attending = ATTEND[device.type](self.buffers, places)

    def forward(self, decoder: LlamaModel, embeds: Tensor) -> Tensor:
        """Hidden states (C, 1 + G, D) of embeddings of that shape; 0 where a row is not forwarded."""
        rows, at = embeds.flatten(0, 1), self.forwarded
        hidden = run_packed(decoder, rows[at], self.positions, self.attending)
        return torch.zeros_like(rows).index_copy(0, at, hidden).view(embeds.shape)
