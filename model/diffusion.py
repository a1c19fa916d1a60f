"""Masked diffusion, decoding and training, as pure functions.

Decoding works on a canvas of tokens (P, N): P pools of N slots, each pool with a step budget of its own. What a pool
is (a caption, all captions of a pass, an answer) is the caller's choice; so is `logits_fn`, which maps the canvas to
logits (P, N, V). Slots to be written hold the mask token; nothing else of the canvas is ever changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

LogitsFn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from its logits.

    temperature: 0 takes the most probable token. top_p: smallest set of tokens with this much probability, 1 for all.
    top_k: that many most probable tokens, 0 for all. banned: ids that are never drawn.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    banned: Tensor | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                "expected temperature >= 0, top_k >= 0 and top_p in (0, 1], "
                f"found {self.temperature}, {self.top_k} and {self.top_p}"
            )


@dataclass(frozen=True)
class Denoised:
    """tokens: (P, N). confidence: (P, N) log-probability each token had when it was last written, 0 where nothing
    was. steps: (P,) forwards in which the pool still had something to write. broken: (P,) whether a logit of the pool
    was NaN or infinite, so that its tokens mean nothing. forwards: calls of `logits_fn`."""

    tokens: Tensor
    confidence: Tensor
    steps: Tensor
    broken: Tensor
    forwards: int


# --- one prediction ---------------------------------------------------------------------------------------------


def predict(
    logits: Tensor, sampling: Sampling, generators: Sequence[torch.Generator] | None = None
) -> tuple[Tensor, Tensor]:
    """Tokens (P, N) drawn from logits (P, N, V), and the log-probability of each, in fp32; NaN where a logit is NaN or
    positive infinity.

    generators: on the CPU, each drawing for an equal share of the slots, in order, so that what a caption draws does
    not depend on what it is batched with; only read when the temperature is above 0.
    """
    logits = logits.float()
    if sampling.banned is not None:
        logits = logits.index_fill(-1, sampling.banned.to(logits.device), float("-inf"))
    if sampling.temperature == 0:
        tokens = logits.argmax(dim=-1)
    else:
        assert generators is not None
        kept = nucleus(logits / sampling.temperature, sampling.top_p, sampling.top_k)
        tokens = (kept + gumbel(kept.shape, generators).to(kept.device)).argmax(dim=-1)
    return tokens, log_probability(logits, tokens)


def log_probability(logits: Tensor, tokens: Tensor) -> Tensor:
    """(P, N) log-probability of tokens (P, N) under logits (P, N, V).

    From the weight of all other tokens, so that near-certain slots keep their order: the logarithm of a probability
    next to 1 would be 0 for many of them in fp32. NaN where the logit of the token is not finite: NaN and infinity are
    what an argmax finds first, so that logits of vocabulary size need not be searched for them.
    """
    chosen = tokens.unsqueeze(-1)
    peak = logits.gather(-1, chosen)
    others = (logits - peak).exp_().scatter_(-1, chosen, 0.0)
    return (peak - peak).squeeze(-1) - others.sum(dim=-1).log1p()


def nucleus(logits: Tensor, top_p: float, top_k: int) -> Tensor:
    """Logits (..., V) with all but the top_k tokens, then all but the smallest set of probability top_p, at -inf."""
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k, dim=-1).values[..., -1:], float("-inf"))
    if top_p < 1:
        ranked, order = logits.sort(dim=-1, descending=True)
        probability = ranked.softmax(dim=-1)
        beyond = probability.cumsum(dim=-1) - probability >= top_p  # what comes before it is already enough
        logits = logits.masked_fill(beyond.gather(-1, order.argsort(dim=-1)), float("-inf"))
    return logits


def gumbel(shape: torch.Size, generators: Sequence[torch.Generator]) -> Tensor:
    """Gumbel noise of shape (P, N, V), an equal share of the P N slots from each generator."""
    share, rest = divmod(shape[0] * shape[1], len(generators))
    assert rest == 0
    uniform = torch.cat([torch.rand(share, shape[2], generator=generator) for generator in generators])
    return -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7))).view(shape)


def guided(conditional: LogitsFn, unconditional: LogitsFn, scale: float) -> LogitsFn:
    """Classifier-free guidance: (1 + scale) conditional - scale unconditional logits."""

    def logits_fn(canvas: Tensor) -> Tensor:
        blind = unconditional(canvas)
        return blind + (scale + 1) * (conditional(canvas) - blind)

    return logits_fn


# --- the two rules ----------------------------------------------------------------------------------------------


def denoise_remask(
    logits_fn: LogitsFn,
    canvas: Tensor,
    mask_token: int,
    steps: int,
    sampling: Sampling,
    generators: Sequence[torch.Generator] | None = None,
) -> Denoised:
    """The region rule: write every masked slot, then mask the least confident ones again, those written long ago too.

    After step s of S, N (S - 1 - s) // S of a pool's N slots are masked. A slot is judged by what would be written
    into it now, whether or not it already holds a token.
    """
    open_slots = canvas == mask_token
    total = open_slots.sum(dim=1)
    confidence = torch.zeros(canvas.shape, device=canvas.device)
    used, broken, forwards = torch.zeros_like(total), torch.zeros_like(total, dtype=torch.bool), 0
    for step in range(steps):
        masked = canvas == mask_token
        later = total * (steps - 1 - step) // steps
        if not masked.any() and not later.any():
            break
        guess, certainty = predict(logits_fn(canvas), sampling, generators)
        forwards += 1
        used += masked.any(dim=1)
        broken |= certainty.isnan().any(dim=1)
        canvas = torch.where(masked, guess, canvas)
        confidence = torch.where(masked, certainty, confidence)
        rank = certainty.masked_fill(~open_slots, float("inf")).argsort(dim=1, stable=True).argsort(dim=1)
        canvas = torch.where(rank < later[:, None], mask_token, canvas)
    return Denoised(canvas, confidence, used, broken, forwards)


def denoise_reveal(
    logits_fn: LogitsFn,
    canvas: Tensor,
    mask_token: int,
    steps: int,
    sampling: Sampling,
    generators: Sequence[torch.Generator] | None = None,
    *,
    threshold: float | None = None,
    window: slice = slice(None),
) -> Denoised:
    """The chat rule: in every step write the most confident masked slots; what is written stays.

    A pool's masked slots in `window` are shared evenly over the steps, the remainder over the first ones. With a
    threshold, every slot whose token has at least that probability is written as well.
    """
    inside = torch.zeros_like(canvas, dtype=torch.bool)
    inside[:, window] = True
    total = ((canvas == mask_token) & inside).sum(dim=1)
    confidence = torch.zeros(canvas.shape, device=canvas.device)
    used, broken, forwards = torch.zeros_like(total), torch.zeros_like(total, dtype=torch.bool), 0
    for step in range(steps):
        masked = (canvas == mask_token) & inside
        if not masked.any():
            break
        share = total // steps + (step < total % steps)
        if threshold is None and not share.any():
            break  # fewer slots than steps: the rest of the steps has nothing to write
        guess, certainty = predict(logits_fn(canvas), sampling, generators)
        forwards += 1
        used += masked.any(dim=1)
        broken |= certainty.isnan().any(dim=1)
        ranked = certainty.masked_fill(~masked, float("-inf"))
        rank = ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        chosen = rank < share[:, None]
        if threshold is not None:
            chosen |= certainty.exp() >= threshold
            chosen |= rank < 1
        chosen &= masked
        canvas = torch.where(chosen, guess, canvas)
        confidence = torch.where(chosen, certainty, confidence)
    return Denoised(canvas, confidence, used, broken, forwards)


def denoise_blocks(
    logits_fn: LogitsFn,
    canvas: Tensor,
    mask_token: int,
    steps: int,
    block: int,
    sampling: Sampling,
    generators: Sequence[torch.Generator] | None = None,
) -> Denoised:
    """The chat rule block after block of `block` slots; block 1 is left-to-right order.

    Raises ValueError unless blocks fill the canvas (P, N) and share the steps evenly.
    """
    length = canvas.shape[1]
    blocks, rest = divmod(length, block)
    if rest or steps % blocks:
        raise ValueError(
            f"expected a block length that divides the answer length and a number of blocks that divides the steps, "
            f"found length {length}, block length {block}, steps {steps}; try block length {length} with {steps} steps"
        )
    confidence = torch.zeros(canvas.shape, device=canvas.device)
    used, forwards = torch.zeros(len(canvas), dtype=torch.long, device=canvas.device), 0
    broken = torch.zeros(len(canvas), dtype=torch.bool, device=canvas.device)
    for start in range(0, length, block):
        window = slice(start, start + block)
        part = denoise_reveal(logits_fn, canvas, mask_token, steps // blocks, sampling, generators, window=window)
        canvas = part.tokens
        broken |= part.broken
        confidence, used, forwards = (
            confidence + part.confidence,
            used + part.steps,
            forwards + part.forwards,
        )
    return Denoised(canvas, confidence, used, broken, forwards)


# --- training ---------------------------------------------------------------------------------------------------


EPSILON = 1e-3  # so that the probability of masking is never 0 and the loss stays bounded


@dataclass(frozen=True)
class Noise:
    """What was done to a batch of tokens (B, L).

    probability: (B,) with which each label was hit. hit: (B, L) bool. tokens: (B, L) after it.
    replaced: whether other tokens than the mask were put in, and the loss is over all labels alike.
    twin: (B, L) labels that are hit where their twins are not, None if there are none.
    """

    probability: Tensor
    hit: Tensor
    tokens: Tensor
    replaced: bool = False
    twin: Tensor | None = None

    def to(self, device: torch.device) -> "Noise":
        """The same noise on a device."""
        return replace(
            self,
            probability=self.probability.to(device, non_blocking=True),
            hit=self.hit.to(device, non_blocking=True),
            tokens=self.tokens.to(device, non_blocking=True),
            twin=None if self.twin is None else self.twin.to(device, non_blocking=True),
        )

    def weights(self, labelled: Tensor) -> Tensor:
        """(B, L) weight of each position's cross-entropy; the batch's loss is their weighted sum (equation 2).

        Hit positions count by the inverse of their probability, each sample by the inverse of its labels; with
        replacement noise all labels count alike.
        """
        probability = self.probability[:, None]
        if self.twin is not None:
            probability = torch.where(self.twin, (1 - probability).clamp(min=EPSILON), probability)
        share = labelled if self.replaced else self.hit / probability
        return share / labelled.sum(dim=1, keepdim=True) / len(labelled)


def mask_probability(t: Tensor) -> Tensor:
    """Probability that a label is masked at time t in [0, 1]."""
    return (1 - EPSILON) * t + EPSILON


def draw_hits(labelled: Tensor, probability: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """(B, L) labels that are hit, each with the probability (B,) of its sample."""
    drawn = torch.rand(labelled.shape, generator=generator, device=labelled.device)
    return labelled & (drawn < probability[:, None])


def add_noise(
    tokens: Tensor, probability: Tensor, hit: Tensor, mask_token: int, replacements: Tensor | None = None
) -> Noise:
    """Put the mask token where a position is hit (equation 1).

    replacements: (B, L) tokens to put at hit positions instead, -1 for the mask token: replacement noise.
    """
    instead = torch.full_like(tokens, mask_token)
    if replacements is not None:
        instead = torch.where(replacements < 0, instead, replacements)
    return Noise(probability, hit, torch.where(hit, instead, tokens), replaced=replacements is not None)


def weighted_entropy(logits: Tensor, tokens: Tensor, weights: Tensor) -> Tensor:
    """Sum of the cross-entropies of logits (N, V) with tokens (N,), each times its weight (N,)."""
    return (F.cross_entropy(logits.float(), tokens, reduction="none") * weights).sum()
