"""Work of a pass counted from its shape, and the least time in which a machine can do it.

A phase multiplies every matrix of its part with some rows and, in the decoder and the tower, lets rows look at keys:

    flop  = 2 parameters rows + 4 rows keys width blocks
    bytes = element (parameters + 2 keys key width blocks) + logits written and read

A phase takes at least its flop by the matrix rate, and at least its bytes by the bandwidth.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdlm_cli.bench.machine import Rates
from pdlm_cli.flops import multiplied

if TYPE_CHECKING:
    from model.config import PerceptionDLMConfig


@dataclass(frozen=True)
class Phase:
    """What is done `times` times. flop, moved: operations and bytes of one time."""

    name: str
    flop: float
    moved: float
    times: int = 1

    def seconds(self, rates: Rates) -> float:
        return self.times * max(self.flop / rates.flop_per_second, self.moved / rates.bytes_per_second)


def total(phases: Iterable[Phase]) -> tuple[float, float]:
    """Operations and bytes."""
    phases = list(phases)
    return sum(own.flop * own.times for own in phases), sum(own.moved * own.times for own in phases)


def least_seconds(phases: Iterable[Phase], rates: Rates) -> float:
    return sum(own.seconds(rates) for own in phases)


class Counts:
    """Phases of a model, by the numbers of rows that they are about. element: bytes of a number. quantize: how weights
    of the decoder are stored, a key of STORAGES."""

    def __init__(self, config: "PerceptionDLMConfig", element: int, quantize: str | None = None) -> None:
        import torch

        from model.pdlm import PerceptionDLM
        from model.quantize import STORAGES

        self.config, self.element = config, element
        self.stored = STORAGES[quantize].bits / 8 if quantize is not None else element
        self.parameters: Counter[str] = Counter()
        with torch.device("meta"):  # shapes without memory
            model = PerceptionDLM(config)
        for part, _, parameter in multiplied(model):
            if parameter.ndim > 1:  # gains and biases are nothing beside the matrices
                self.parameters[part] += parameter.numel()

    def vision(self, tiles: int, times: int = 1) -> Phase:
        """Tower and connector over tiles, whose patches look at those of their own tile."""
        config = self.config
        patches = config.patch_grid**2
        blocks = config.vision_config.num_hidden_layers + config.vision_select_layer + 1
        looking = 4 * patches * patches * config.vision_config.hidden_size * blocks
        flop = tiles * (
            2 * self.parameters["vision"] * patches
            + 2 * self.parameters["connector"] * config.tokens_per_tile
            + looking
        )
        weights = self.parameters["vision"] + self.parameters["connector"]
        return Phase("vision", flop, self.element * weights, times)

    def decoder(self, rows: int, keys: int, *, passes: int = 1, times: int = 1) -> Phase:
        """A forward of `rows` rows each of `passes` passes, each looking at `keys` keys."""
        text = self.config.text_config
        width = text.num_attention_heads * text.head_dim
        looking = 4 * rows * keys * width * text.num_hidden_layers
        kept = 2 * keys * text.num_key_value_heads * text.head_dim * text.num_hidden_layers
        flop = passes * (2 * self.parameters["decoder"] * rows + looking)
        moved = self.stored * self.parameters["decoder"] + self.element * passes * kept
        return Phase("decoder", flop, moved, times)

    def prefill(self, rows: int, keys: int, *, passes: int = 1) -> Phase:
        """A forward that is for its keys and values alone, so that the last layer computes nothing else."""
        text, whole = self.config.text_config, self.decoder(rows, keys, passes=passes)
        most = 1 - 1 / text.num_hidden_layers
        last = 2 * text.hidden_size * text.num_key_value_heads * text.head_dim
        flop = round(most * whole.flop) + 2 * passes * last * rows
        moved = round(whole.moved - self.stored * (self.parameters["decoder"] * (1 - most) - last))
        return Phase("decoder", flop, moved, 1)

    def head(self, rows: int, *, times: int = 1, number: int | None = None) -> Phase:
        """Logits of rows over the vocabulary, written and read once. number: bytes of one of them."""
        logits = rows * self.config.text_config.vocab_size * (number or self.element)
        return Phase(
            "head", 2 * self.parameters["head"] * rows, self.element * self.parameters["head"] + 2 * logits, times
        )


@dataclass(frozen=True)
class Lengths:
    """Tokens of a pass. prefix: prompt, image and RoIs. answer: captions with their markers. slots: to be written."""

    tiles: int
    prefix: int
    answer: int
    slots: int


def cached_pass(
    counts: Counts, own: Lengths, steps: int, passes: int = 1, *, again: bool = False, delayed: bool = False
) -> list[Phase]:
    """Context once, then the captions alone in every step: what isolated attention allows.

    again: whether slots that are written are predicted again. If not, logits are those of the slots that are left, on
    average as if every step wrote as many. delayed: whether a step forwards those alone that the step before last left.
    """
    judged = own.slots if again else own.slots * (steps + 1) / (2 * steps)
    left = own.slots * (steps - 1) * (1 - (steps - 2) / (2 * steps))  # in all steps after the first
    rows = round((own.answer + left) / steps) if delayed else own.answer
    return [
        counts.vision(own.tiles * passes),
        counts.prefill(own.prefix, own.prefix, passes=passes),
        counts.decoder(rows, own.prefix + own.answer // 2, passes=passes, times=steps),
        counts.head(round(judged * passes), times=steps),
    ]


def recomputed_pass(counts: Counts, own: Lengths, steps: int, *, everywhere: bool) -> list[Phase]:
    """The whole sequence in every step. everywhere: logits of every token, in fp64, as published."""
    length = own.prefix + own.answer
    head = counts.head(length, times=steps, number=8) if everywhere else counts.head(own.slots, times=steps)
    return [counts.vision(own.tiles), counts.decoder(length, length, times=steps), head]


def autoregressive(counts: Counts, own: Lengths, tokens: int) -> list[Phase]:
    """One region: its prompt once, causally, then a token at a time."""
    return [
        counts.vision(own.tiles),
        counts.decoder(own.prefix, own.prefix // 2),
        counts.decoder(1, own.prefix + tokens // 2, times=tokens),
        counts.head(1, times=tokens),
    ]
