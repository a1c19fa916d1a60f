"""Which words the caption of a region has, read from its RoI tokens alone: a first lesson for a tower from nothing.

A released tower was taught with texts before it met its decoder. One from nothing is taught here, by classifying the
tokens of captions (SuperClass, Huang et al. 2024), with the decoder's own head, whose blocks take no part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.batch import Batch
from model.diffusion import Noise
from model.layout import Kind
from model.tokens import Tokens


@dataclass(frozen=True)
class Words:
    """present: (N + M, V) whether the caption of each region of a batch has each token, and then whether it is a word
    for what an image token shows. weights: (N + M,), of sum `share` for the regions and once more for image tokens,
    where each row of the batch has them. prior: (V,) log odds of each token in any caption, so that only what differs
    must be learnt. shown: (M,) which of all image tokens of the batch are asked about."""

    present: Tensor
    weights: Tensor
    prior: Tensor
    shown: Tensor

    def to(self, device: torch.device) -> "Words":
        """The same words on a device."""
        values = (self.present, self.weights, self.prior, self.shown)
        return Words(*(value.to(device, non_blocking=True) for value in values))

    def loss(self, logits: Tensor) -> Tensor:
        """Cross-entropy of (N + M, V) logits, summed over the vocabulary; samples count alike, as do regions of one."""
        each = F.binary_cross_entropy_with_logits(logits.float() + self.prior, self.present, reduction="none")
        return each.sum(dim=1) @ self.weights


@dataclass(frozen=True)
class Both:
    """Captions to be written, and their words to be named, in one forward."""

    noise: Noise
    words: Words

    def to(self, device: torch.device) -> "Both":
        """The same on a device."""
        return Both(self.noise.to(device), self.words.to(device))


def aims(aim: Noise | Words | Both) -> tuple[Noise | None, Words | None]:
    """What is to be written, and what is to be named."""
    if isinstance(aim, Both):
        return aim.noise, aim.words
    return (aim, None) if isinstance(aim, Noise) else (None, aim)


def caption_words(
    batch: Batch, prior: Tensor, share: float = 1.0, shown: Sequence[Tensor | None] | None = None
) -> Words | None:
    """The words of the captions that fill the slots of a batch, regions one after the other. None of any, if it holds
    image-level questions alone; its other rows have none.

    share: what they count. shown: of each row (image tokens, V) which words stand for what a token shows, none where
    that is not known; None where it is of no token.
    """
    present, weights, tokens = [], [], []
    for ids, slots, kinds in zip(batch.input_ids, batch.slots, batch.kind, strict=True):
        if not (kinds == Kind.ROI).any():
            continue
        own = [torch.zeros_like(prior).index_fill(0, ids[slot[slot >= 0]], 1.0) for slot in slots if slot[0] >= 0]
        present += own
        weights += [share / len(own) / len(batch.slots)] * len(own)
    first = 0
    for words, images in zip(shown or (), batch.image, strict=bool(shown)):
        if words is not None:
            known = words.any(dim=1).nonzero().flatten()
            present += list(words[known].to(prior.dtype))
            weights += [share / max(len(known), 1) / len(batch.slots)] * len(known)
            tokens.append(first + known)
        first += int(images.sum())
    if not present:
        return None
    return Words(torch.stack(present), torch.tensor(weights), prior, torch.cat([*tokens, torch.zeros(0)]).long())


def word_prior(tokens: Tokens, vocabulary: int, texts: Iterable[str]) -> Tensor:
    """(V,) log odds that a text has each token of a vocabulary of so many."""
    counts, total = torch.zeros(vocabulary), 0
    for text in texts:
        counts[list(set(tokens.encode(text)))] += 1
        total += 1
    return torch.logit((counts + 0.5) / (total + 1))
