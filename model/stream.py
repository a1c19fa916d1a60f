"""Captions of any number of passes, a few of them on the device at a time: continuous batching.

For isolated captions. Picture, context and RoIs of a pass are computed once; after that a step is a forward of the
captions that are not done yet, of all passes at once. What is done leaves, the next pass takes the place of one that
has no caption left, and nothing waits for the slowest. `decode.denoise_batch` without a cache is the oracle: each
caption's tokens are the same.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.batch import collate_passes, plan_blank
from model.caption_rows import CaptionRows
from model.captions import Caption, PassCaptions, cut_caption
from model.clock import now
from model.head import likeliest_tokens
from model.key_buffers import KeyBuffers
from model.layout import Kind, Layout
from model.packed import attend_prefixes, prefill_packed
from model.preprocess import PreparedPass
from model.rules import Pools, advance, steps_between_looks
from model.sampling import Prediction, predict
from model.settings import Rule, Sampling

if TYPE_CHECKING:  # the model calls the decoding loops
    from model.pdlm import PerceptionDLM

Show = Callable[[dict[int, list[list[int]]]], None]


@dataclass
class Lane:
    """A pass on the device.

    index: its number among all passes, number: its own. tokens: ids in the slots of each caption, as far as anybody has
    looked. found: captions that are done, by slot. steps: it has taken.
    """

    index: int
    prepared: PreparedPass
    layout: Layout
    number: int
    together: int
    encode_ms: float
    encode_share_ms: float
    started: float
    tokens: list[list[int]]
    found: dict[int, Caption] = field(default_factory=dict)
    steps: int = 0
    decode_share_ms: float = 0.0
    broken: bool = False

    @property
    def done(self) -> bool:
        return len(self.found) == len(self.prepared.order)


class CaptionStream:
    """Captions of passes, each pass as soon as its last caption is done.

    length: slots of a caption. instruction: None for the one the model learnt. lanes: passes on the device at a time.
    show: told of the slots of all captions on the device, by pass, before their first step and after each. delayed:
    whether keys and values of a token are kept once a step has read it, which is approximate; not with a rule that may
    take tokens back.
    """

    def __init__(
        self,
        model: "PerceptionDLM",
        rule: Rule,
        sampling: Sampling,
        length: int,
        instruction: str | None,
        lanes: int,
        show: Show | None = None,
        *,
        delayed: bool = False,
    ) -> None:
        self.model, self.rule, self.sampling = model, rule, sampling.on(model.device)
        self.length, self.instruction, self.capacity, self.show = length, instruction, lanes, show
        assert not (delayed and rule.judges_everything)
        self.delayed = delayed
        self.embed = model.language_model.get_input_embeddings()
        self.head = model.language_model.lm_head
        self.lanes: list[Lane] = []
        self.rows: CaptionRows | None = None
        # Of the captions that are not done, lane by lane and slot by slot: whose they are, what is written, how it is
        # drawn.
        self.open: list[tuple[Lane, int]] = []
        self.planned: list[tuple[Lane, int]] | None = None  # what `_plan` was made for
        self.pools = Pools.start(torch.empty(0, length, dtype=torch.long, device=model.device), model.tokens.mask)
        self.generators: list[torch.Generator] = []

    @torch.inference_mode()
    def run(self, passes: Iterable[PreparedPass]) -> Iterator[tuple[int, PassCaptions]]:
        """Numbers of passes with their captions, in the order in which they are done."""
        waiting = enumerate(passes)
        while True:
            arrived = list(islice(waiting, self.capacity - len(self.lanes)))
            if arrived:
                self._admit(arrived)
            if not self.lanes:
                return
            began = time.perf_counter()
            if self.planned is not self.open:  # none has come or gone in most rounds
                self._plan()
            if self.delayed:
                self._leave_out()
            asked = self.pools.slots if self.rule.judges_everything else self.pools.masked(self.model.tokens.mask)
            self.judged = asked.flatten().nonzero().squeeze(1)
            for _ in range(self._rounds()):
                self._step()
            yield from self._collect(began)

    def _admit(self, arrived: Sequence[tuple[int, PreparedPass]]) -> None:
        """Picture, context and RoIs of passes, and blank captions."""
        model, passes = self.model, [prepared for _, prepared in arrived]
        started = now(model.device)
        layouts = [plan_blank(model.tokens, model.config, own, self.length, self.instruction) for own in passes]
        embeds = model.embed(collate_passes(passes, layouts, model.config).to(model.device))
        encoded = now(model.device)

        buffers = self._room(max(layout.prefix for layout in layouts), len(arrived))
        free = sorted(set(range(len(buffers.prefixes))) - {lane.number for lane in self.lanes})
        together, encode_ms = len(self.lanes) + len(arrived), 1e3 * (encoded - started)
        share_ms, lanes = encode_ms / len(arrived), []
        for (index, prepared), layout, number in zip(arrived, layouts, free[: len(arrived)], strict=True):
            buffers.enter(number, layout)
            blank = [[model.tokens.mask] * self.length for _ in prepared.order]
            lanes.append(Lane(index, prepared, layout, number, together, encode_ms, share_ms, encoded, blank))
        self._prefill(buffers, lanes, embeds)
        for lane in lanes:
            lane.decode_share_ms = 1e3 * (now(model.device) - encoded) / len(lanes)

        slots = [(lane, slot) for lane in lanes for slot in range(len(lane.prepared.order))]
        canvas = torch.full((len(slots), self.length), model.tokens.mask, device=model.device)
        self.lanes += lanes
        self.open = self.open + slots
        self.pools = self.pools.beside(Pools.start(canvas, model.tokens.mask))
        self.generators += [torch.Generator().manual_seed(lane.prepared.seeds[slot]) for lane, slot in slots]
        self._tell()

    def _room(self, prefix: int, arrived: int) -> KeyBuffers:
        """Buffers for prefixes of this length. Never are there more passes than have arrived at first."""
        if self.rows is None:
            model, regions = self.model, self.model.config.regions
            assert regions is not None
            answer = regions.max_regions * (1 + self.length)
            buffers = KeyBuffers(model.config.text_config, arrived, prefix, answer, model.dtype, model.device)
            self.rows = CaptionRows(buffers, self.length)
        elif self.rows.buffers.begin < prefix:
            self.rows.buffers.lengthen(prefix)
        return self.rows.buffers

    def _prefill(self, buffers: KeyBuffers, lanes: Sequence[Lane], embeds: Tensor) -> None:
        """Keys and values of what no caption changes, of embeddings (B, L, D) padded on the right of each prefix."""
        decoder = self.model.language_model.model
        for kind in (Kind.CONTEXT, Kind.ROI):
            places = [_places(lane.layout, kind) for lane in lanes]
            rows = {lane.number: own for lane, own in zip(lanes, places, strict=True) if own.start < own.stop}
            if rows:
                packed = torch.cat([own[at] for own, at in zip(embeds, places, strict=True)])
                positions = torch.cat([lane.layout.position_ids[at] for lane, at in zip(lanes, places, strict=True)])
                attending = attend_prefixes(buffers, rows, masked=kind == Kind.ROI)
                prefill_packed(decoder, packed, positions.to(embeds.device), attending)

    def _plan(self) -> None:
        """Where the rows of the next steps lie, after captions have come or gone."""
        assert self.rows is not None
        self.planned = self.open
        captions = {lane.number: (lane.layout, [slot for own, slot in self.open if own is lane]) for lane in self.lanes}
        self.rows.place(captions, keep=self.delayed)
        if not self.delayed:
            self.rows.leave_out(None)

    def _leave_out(self) -> None:
        """Rows whose token a step has read, markers from the second step on: dKV-Cache (2505.15781)."""
        assert self.rows is not None
        markers = (self.pools.step > 0)[:, None]
        self.rows.leave_out(torch.cat([markers, ~self.pools.unread], dim=1).tolist())  # waits for the device

    def _rounds(self) -> int:
        """Steps until the next look: none after the last that any pass takes."""
        left = min(self.rule.steps - lane.steps for lane in self.lanes)
        assert left > 0
        return min(left, 1 if self.delayed else steps_between_looks(self.rule, self.model.device))

    def _step(self) -> None:
        assert self.rows is not None
        embeds = self.embed(torch.cat([self.rows.markers, self.pools.tokens], dim=1))
        hidden = self.rows.forward(self.model.language_model.model, embeds)
        guess = self._predict(hidden[:, 1:])
        self.pools = advance(self.pools, guess, self.rule, self.model.tokens.mask)
        for lane in self.lanes:
            lane.steps += 1
        self._tell()

    def _predict(self, hidden: Tensor) -> Prediction:
        """Of hidden states (C, G, D) of slots; nothing is promised of those that are not judged."""
        entropy = self.rule.judges_by_entropy
        if self.sampling.temperature > 0:
            return predict(self.head(hidden), self.sampling, self.generators, entropy)
        flat = hidden.flatten(0, 1)
        guess = likeliest_tokens(self.head, flat[self.judged], self.sampling, entropy)

        def in_place(part: Tensor) -> Tensor:
            return part.new_zeros(len(flat)).scatter(0, self.judged, part).view(hidden.shape[:2])

        return guess.each(in_place)

    def _collect(self, began: float) -> Iterator[tuple[int, PassCaptions]]:
        """Take out the captions that are done, and the passes that have no other."""
        pools, device = self.pools, self.pools.tokens.device
        left = pools.masked(self.model.tokens.mask).any(dim=1).tolist()  # waits for the device
        self._share(time.perf_counter() - began)
        if all(left):
            return
        finished = [place for place, more in enumerate(left) if not more]
        done = pools.at(torch.tensor(finished, device=device))
        rows = zip(
            done.tokens.tolist(), done.confidence.exp().tolist(), done.steps.tolist(), done.broken.tolist(), strict=True
        )
        for place, (tokens, confidence, steps, broken) in zip(finished, rows, strict=True):
            lane, slot = self.open[place]
            lane.tokens[slot] = tokens
            lane.found[slot] = cut_caption(self.model.tokens, tokens, confidence, steps)
            lane.broken |= broken
        others = [place for place, more in enumerate(left) if more]
        self.open = [self.open[place] for place in others]
        self.generators = [self.generators[place] for place in others]
        self.pools = pools.at(torch.tensor(others, dtype=torch.long, device=device))

        ended = [lane for lane in self.lanes if lane.done]
        self.lanes = [lane for lane in self.lanes if not lane.done]
        at = now(self.model.device)
        for lane in ended:
            slots = lane.prepared.slots
            captions = [lane.found[slot] for slot in slots]
            decode_ms = 1e3 * (at - lane.started)
            times = lane.encode_ms, decode_ms, lane.encode_share_ms, lane.decode_share_ms
            yield lane.index, PassCaptions(captions, slots, lane.together, *times, lane.broken)

    def _share(self, seconds: float) -> None:
        for lane in self.lanes:
            lane.decode_share_ms += 1e3 * seconds / len(self.lanes)

    def _tell(self) -> None:
        if self.show is None:
            return
        for (lane, slot), tokens in zip(self.open, self.pools.tokens.tolist(), strict=True):
            lane.tokens[slot] = tokens
        self.show({lane.index: lane.tokens for lane in self.lanes})


def _places(layout: Layout, kind: Kind) -> slice:
    """Of the context or the RoIs of an isolated layout."""
    found = (layout.kind[: layout.prefix] == kind).nonzero()
    if not len(found):
        return slice(0, 0)
    first, stop = int(found[0]), int(found[-1]) + 1
    assert len(found) == stop - first
    return slice(first, stop)
