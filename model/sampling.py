"""From logits to tokens: what a denoising step would write into each slot, and how certain it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.settings import Sampling

LogitsFn = Callable[[Tensor], Tensor]
BLOCK = 256  # tokens, of which LLaDA's vocabulary has 494 times as many
NEVER = -1e4  # in place of the logarithm of 0, where infinity would not do


@dataclass(frozen=True)
class Prediction:
    """What a step would write into each slot. tokens: (P, N). certainty: (P, N) log-probability of the token, fp32; NaN
    where a logit is NaN or positive infinity. entropy: (P, N) of all tokens, in nats; None unless asked for."""

    tokens: Tensor
    certainty: Tensor
    entropy: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Prediction":
        """The same with every tensor changed."""
        entropy = None if self.entropy is None else change(self.entropy)
        return Prediction(change(self.tokens), change(self.certainty), entropy)

    @staticmethod
    def joined(parts: "Sequence[Prediction]") -> "Prediction":
        """Along the first dimension."""
        entropies = [part.entropy for part in parts if part.entropy is not None]
        tokens, certainty = torch.cat([part.tokens for part in parts]), torch.cat([part.certainty for part in parts])
        return Prediction(tokens, certainty, torch.cat(entropies) if entropies else None)


def predict(
    logits: Tensor,
    sampling: Sampling,
    generators: Sequence[torch.Generator] | None = None,
    entropy: bool = False,
    *,
    spare: bool = False,
) -> Prediction:
    """Tokens drawn from logits (P, N, V) on the device of `sampling`. spare: whether these may be overwritten.

    generators: on the CPU, each drawing for an equal share of the slots, in order, so that what a caption draws does
    not depend on what it is batched with; only read when the temperature is above 0.
    """
    logits = logits.float()
    if sampling.banned is not None:
        logits = (logits.index_fill_ if spare else logits.index_fill)(-1, sampling.banned, float("-inf"))
    if sampling.temperature == 0:
        tokens = likeliest(logits)
    else:
        assert generators is not None
        kept = nucleus(logits / sampling.temperature, sampling.top_p, sampling.top_k)
        tokens = (kept + gumbel(kept.shape, generators).to(kept.device)).argmax(dim=-1)
    entropies = entropy_of(logits) if entropy else None  # before the logits may be overwritten
    return Prediction(tokens, log_probability(logits, tokens, spare=spare), entropies)


def likeliest(logits: Tensor) -> Tensor:
    """(P, N) of logits (P, N, V): the first of the largest, NaN above all.

    By blocks of the vocabulary, if it is a multiple of them: a CPU finds the largest values of blocks several times as
    fast as the place of one.
    """
    if logits.shape[-1] % BLOCK:
        return logits.argmax(dim=-1)
    blocks = logits.unflatten(-1, (-1, BLOCK))
    first = blocks.amax(dim=-1).argmax(dim=-1)
    own = blocks.take_along_dim(first[..., None, None], dim=-2).squeeze(-2)
    return first * BLOCK + own.argmax(dim=-1)


def log_probability(logits: Tensor, tokens: Tensor, *, spare: bool = False) -> Tensor:
    """(P, N) log-probability of tokens (P, N) under logits (P, N, V), which are overwritten if they are to spare.

    From the weight of all other tokens, so that near-certain slots keep their order: the logarithm of a probability
    next to 1 would be 0 for many of them in fp32. NaN where the logit of the token is not finite: NaN and infinity are
    what an argmax finds first, so that logits of vocabulary size need not be searched for them.
    """
    chosen = tokens.unsqueeze(-1)
    peak = logits.gather(-1, chosen)
    others = (logits.sub_(peak) if spare else logits - peak).exp_().scatter_(-1, chosen, 0.0)
    return (peak - peak).squeeze(-1) - others.sum(dim=-1).log1p()


def entropy_of(logits: Tensor) -> Tensor:
    """(P, N) entropy in nats of the distributions of logits (P, N, V)."""
    likely = logits.log_softmax(dim=-1)
    return -(likely.exp() * likely.clamp(min=NEVER)).sum(dim=-1)


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
