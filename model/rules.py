"""Which slots a denoising step writes, and the loop around it.

Decoding works on a canvas of tokens (P, N): P pools of N slots, each pool with a step budget of its own. What a pool is
(a caption, all captions of a pass, an answer) is the caller's choice. Slots to be written hold the mask token; nothing
else of the canvas is ever changed. Nothing here waits for the device but the loop, where it looks at what is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from model.sampling import NEVER, LogitsFn, Prediction, predict
from model.settings import Rule, Sampling, steps_of_block

POLL = {"cpu": 1, "cuda": 4}  # steps of an even schedule between looks at what is done


@dataclass(frozen=True)
class Pools:
    """P pools on their way.

    tokens: (P, N), the mask token where nothing is written. slots: (P, N) bool, those to be written. unread: (P, N)
    bool, those that were not written yet when the last step began.
    confidence: (P, N) log-probability each token had when it was last written, 0 where nothing was.
    step: (P,) steps taken. steps: (P,) those in which something was left to write. broken: (P,) whether a logit was NaN
    or infinite, so that the tokens mean nothing. expected: (P, N) what the last step had written or would have, and
    still: (P,) how many steps in a row have left it as it was.
    """

    tokens: Tensor
    slots: Tensor
    unread: Tensor
    confidence: Tensor
    step: Tensor
    steps: Tensor
    broken: Tensor
    expected: Tensor
    still: Tensor

    @classmethod
    def start(cls, tokens: Tensor, mask_token: int, window: slice = slice(None)) -> Self:
        """All masked slots of `window` are to be written."""
        slots = torch.zeros_like(tokens, dtype=torch.bool)
        slots[:, window] = tokens[:, window] == mask_token
        none = torch.zeros_like(tokens[:, 0])
        confidence = torch.zeros(tokens.shape, device=tokens.device)
        return cls(tokens, slots, slots, confidence, none, none, none.bool(), tokens, none)

    def masked(self, mask_token: int) -> Tensor:
        """(P, N) slots that are still to be written."""
        return self.slots & (self.tokens == mask_token)

    def at(self, index: Tensor) -> Self:
        """Some of the pools."""
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))

    def beside(self, other: Self) -> Self:
        """These pools, then others."""
        both = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return type(self)(*(torch.cat(pair) for pair in both))


def advance(pools: Pools, guess: Prediction, rule: Rule, mask_token: int) -> Pools:
    """One step: what of `guess` is written. Of slots that are not masked only remask reads it."""
    masked = pools.masked(mask_token)
    expected = torch.where(masked, guess.tokens, pools.tokens)
    still = torch.where((expected == pools.expected).all(dim=1), pools.still + 1, 0)
    ended = still >= rule.stable if rule.stable else torch.zeros_like(pools.broken)

    total = pools.slots.sum(dim=1)
    if rule.sampler == "remask":
        written = masked
        left = torch.where(ended, 0, total * (rule.steps - 1 - pools.step) // rule.steps)
        doubt = _rank(guess.certainty.masked_fill(~pools.slots, float("inf")), descending=False)
        tokens = torch.where(doubt < left[:, None], mask_token, expected)
    else:
        written = masked & (_chosen(guess, masked, total, pools.step, rule) | ended[:, None])
        tokens = torch.where(written, guess.tokens, pools.tokens)
    return Pools(
        tokens=tokens,
        slots=pools.slots,
        unread=masked,
        confidence=torch.where(written, guess.certainty, pools.confidence),
        step=pools.step + 1,
        steps=pools.steps + masked.any(dim=1),
        broken=pools.broken | (guess.certainty.isnan() & pools.slots).any(dim=1),
        expected=expected,
        still=still,
    )


def _chosen(guess: Prediction, masked: Tensor, total: Tensor, step: Tensor, rule: Rule) -> Tensor:
    """(P, N) slots that a step writes for good; others than masked ones may be among them."""
    share = total // rule.steps + (step < total % rule.steps)
    if rule.judges_by_entropy:
        assert guess.entropy is not None
        doubt = guess.entropy.nan_to_num(nan=1e9).masked_fill(~masked, float("inf"))
        ordered = doubt.sort(dim=1, stable=True).values
        count = (ordered.cumsum(dim=1) - ordered <= rule.entropy).sum(dim=1)
        return _rank(doubt, descending=False) < torch.maximum(share, count)[:, None]
    # What was drawn against all odds, with a certainty of -inf, still comes before what is not to be written.
    rank = _rank(guess.certainty.clamp(min=NEVER).masked_fill(~masked, float("-inf")), descending=True)
    if rule.sampler == "topk":
        return rank < share[:, None]
    probability = guess.certainty.exp()
    if rule.sampler == "threshold":
        enough = probability >= rule.threshold
    else:
        # n is rank + 1, and both factors grow with it: what holds for n holds for all before it.
        enough = (rank + 2) * (1 - probability) < rule.factor
    return enough | (rank < share.clamp(min=1)[:, None])


def _rank(values: Tensor, descending: bool) -> Tensor:
    """(P, N) place of each slot of a pool in the order of its values, NaN above all."""
    return values.argsort(dim=1, descending=descending, stable=True).argsort(dim=1)


def steps_between_looks(rule: Rule, device: torch.device) -> int:
    """A look at what is done waits for the device; between two what is done goes on for nothing. An even schedule has
    all captions of a pass done in the same step; an adaptive one, whose captions take four steps each, would forward a
    third more rows if it looked after four."""
    return POLL[device.type] if rule.is_even else 1


# --- the loop ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Denoised:
    """tokens, confidence, steps, broken: as in `Pools`. forwards: calls of the logits function."""

    tokens: Tensor
    confidence: Tensor
    steps: Tensor
    broken: Tensor
    forwards: int


def denoise(
    logits_fn: LogitsFn,
    canvas: Tensor,
    mask_token: int,
    rule: Rule,
    sampling: Sampling,
    generators: Sequence[torch.Generator] | None = None,
    window: slice = slice(None),
) -> Denoised:
    """Write the masked slots in `window` of a canvas (P, N). logits_fn: canvas to logits (P, N, V)."""
    pools, sampling = Pools.start(canvas, mask_token, window), sampling.on(canvas.device)
    forwards = 0
    for step in range(rule.steps):
        if step % steps_between_looks(rule, canvas.device) == 0 and not pools.masked(mask_token).any():
            break
        guess = predict(logits_fn(pools.tokens), sampling, generators, entropy=rule.judges_by_entropy)
        pools = advance(pools, guess, rule, mask_token)
        forwards += 1
    return Denoised(pools.tokens, pools.confidence, pools.steps, pools.broken, forwards)


def denoise_blocks(
    logits_fn: LogitsFn,
    canvas: Tensor,
    mask_token: int,
    steps: int,
    block: int,
    sampling: Sampling,
    generators: Sequence[torch.Generator] | None = None,
    ends: Sequence[int] = (),
    sampler: str = "topk",
) -> Denoised:
    """The chat rule: topk in one block of `block` slots after the other; block 1 is left-to-right order.

    sampler: another, see `Rule`, with its usual setting. ends: tokens after which nothing counts; blocks that come
    after one of them in every row stay masked.

    Raises ValueError unless blocks fill the canvas (P, N) and share the steps evenly.
    """
    length = canvas.shape[1]
    rule = Rule(sampler, steps_of_block(length, block, steps))
    parts = []
    for start in range(0, length, block):
        parts.append(denoise(logits_fn, canvas, mask_token, rule, sampling, generators, slice(start, start + block)))
        canvas = parts[-1].tokens
        if ends and torch.isin(canvas, torch.tensor(ends, device=canvas.device)).any(dim=1).all():
            break
    return Denoised(
        canvas,
        torch.stack([part.confidence for part in parts]).sum(dim=0),
        torch.stack([part.steps for part in parts]).sum(dim=0),
        torch.stack([part.broken for part in parts]).any(dim=0),
        sum(part.forwards for part in parts),
    )
