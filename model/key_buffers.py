"""Keys and values of the passes on the device, a lane for each, and who may attend to them.

Prefixes end, and captions begin, at the same place of all lanes, so that lanes can be written and attended to together:

    lane 0         | context | RoIs | captions that are not done |
    lane 1    |   context    | RoIs | captions |
"""

from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig

from model.attention import structured_mask
from model.layout import Kind, Layout

GRAIN = 64  # places by which buffers differ in length, so that they fit the next pass too
ALIGNED = 16  # columns by which the rows of a mask lie apart: kernels of CUDA copy any other, in every layer


class KeyBuffers:
    """Keys and values of each layer (lanes, heads, places, head width).

    kind, region: (lanes, places) of who wrote there, as in `Layout`; PAD where nobody did. begin: place of the first
    caption, and the place after the prefix, in all lanes. prefixes, answers: rows of the prefix of each lane, and of
    its captions.
    """

    def __init__(
        self, config: LlamaConfig, lanes: int, prefix: int, answer: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """prefix, answer: places for the longest ones."""
        self.begin, self.prefixes, self.answers = _up_to(GRAIN, prefix), [0] * lanes, [0] * lanes
        places = self.begin + answer
        shape = (lanes, config.num_key_value_heads, places, config.head_dim)
        layers = range(config.num_hidden_layers)
        # Not empty: what nobody may see has a weight of 0, and 0 times NaN is NaN. See `enter` too.
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in layers]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in layers]
        self.kind = torch.full((lanes, places), int(Kind.PAD), device=device)
        self.region = torch.full_like(self.kind, -1)

    def lengthen(self, prefix: int) -> None:
        """Make places for longer prefixes, layer by layer: no more than one of them is there twice at a time."""
        more = _up_to(GRAIN, prefix) - self.begin
        self.begin += more
        for kept in (self.keys, self.values):
            for layer in range(len(kept)):
                kept[layer] = F.pad(kept[layer], (0, 0, more, 0))
        self.kind = F.pad(self.kind, (more, 0), value=int(Kind.PAD))
        self.region = F.pad(self.region, (more, 0), value=-1)

    def enter(self, lane: int, layout: Layout) -> None:
        """Who writes the prefix of a lane; nobody writes its captions yet."""
        self.prefixes[lane] = layout.prefix
        prefix = slice(self.begin - layout.prefix, self.begin)
        for table, entering, nobody in ((self.kind, layout.kind, int(Kind.PAD)), (self.region, layout.region, -1)):
            table[lane] = nobody
            table[lane, prefix] = entering[: layout.prefix].to(table.device)
        for kept in (*self.keys, *self.values):  # of the pass before, which may have been NaN
            kept[lane, :, : prefix.start] = 0
            kept[lane, :, self.begin :] = 0

    def follow(self, captions: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        """Who writes captions from now on: kind and region (Q,) of the rows of each lane."""
        answer = slice(self.begin, None)
        kind = torch.full_like(self.kind[:, answer], int(Kind.PAD), device="cpu")
        region = torch.full_like(kind, -1)
        for lane, (kinds, regions) in captions.items():
            kind[lane, : len(kinds)], region[lane, : len(kinds)] = kinds, regions
            self.answers[lane] = len(kinds)
        self.kind[:, answer], self.region[:, answer] = kind.to(self.kind.device), region.to(self.kind.device)

    def keep(self, lane: int, rows: Tensor) -> None:
        """Of the captions of a lane these rows alone, in order, from the first place on."""
        rows = rows.to(self.kind.device)
        for kept in (*self.keys, *self.values):
            answer = kept[lane, :, self.begin :]
            answer[:, : len(rows)] = answer[:, rows]

    def sees(self, lanes: Collection[int]) -> slice:
        """Places that captions of these lanes may attend to."""
        longest = max(self.prefixes[lane] for lane in lanes), max(self.answers[lane] for lane in lanes)
        return slice(self.begin - longest[0], self.begin + longest[1])

    def mask(self, lanes: slice, rows: slice | Tensor, columns: slice) -> Tensor:
        """(B, 1, Q, K): what scores are added to, 0 where rows may attend to `columns`, minus infinity elsewhere.

        rows: places, the same of all lanes, or (B, Q) of each.
        """
        if isinstance(rows, Tensor):
            rows = rows.to(self.kind.device)
        sees = structured_mask(self.kind[lanes], self.region[lanes], "isolated", rows, columns)
        width = sees.shape[-1]
        room = _up_to(ALIGNED, width)
        mask = torch.full((*sees.shape[:-1], room), -torch.inf, dtype=self.keys[0].dtype, device=sees.device)
        return mask[..., :width].masked_fill_(sees, 0)


def _up_to(step: int, count: int) -> int:
    """The next multiple of `step` from `count` on."""
    return -(-count // step) * step
