"""Which words the caption of a region has, read from its RoI tokens alone: a first lesson for a tower from nothing.

A released tower was taught with texts before it met its decoder. One from nothing is taught here, by classifying the
tokens of captions (SuperClass, Huang et al. 2024), with the decoder's own head, whose blocks take no part. Where data
says what lies under each image token, that is learnt in the same way.
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
        return (each.sum(dim=1) * self.weights).sum()  # not a product of vectors, which autocast takes in bf16


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


def caption_words(batch: Batch, prior: Tensor, share: float = 1.0, shown: Sequence[Tensor | None] = ()) -> Words | None:
    """What is to be named of a batch; None if it holds image-level questions alone, which have no words.

    share: what it counts beside captions. shown: of each row (image tokens, V) which words stand for what a token
    shows, none where that is not known; None for a row of which nothing is.
    """
    regions = _region_words(batch, prior)
    if not regions:
        return None
    tokens, places = _token_words(batch, prior, shown)
    weights = [share / len(row) / len(batch.slots) for row in (*regions, *tokens) for _ in row]
    return Words(torch.cat([*regions, *tokens]), torch.tensor(weights), prior, places)


def _region_words(batch: Batch, prior: Tensor) -> list[Tensor]:
    """(R, V) of each row with regions: the tokens that fill each caption's slots."""
    found = []
    for ids, slots, kinds in zip(batch.input_ids, batch.slots, batch.kind, strict=True):
        if (kinds == Kind.ROI).any():
            own = [torch.zeros_like(prior).index_fill(0, ids[slot[slot >= 0]], 1.0) for slot in slots if slot[0] >= 0]
            found.append(torch.stack(own))
    return found


def _token_words(batch: Batch, prior: Tensor, shown: Sequence[Tensor | None]) -> tuple[list[Tensor], Tensor]:
    """(M, V) of each row, the words of image tokens of which some are known, and (sum of M,) where in the batch they
    are."""
    found, places, first = [], [torch.zeros(0, dtype=torch.long)], 0
    for words, images in zip(shown, batch.image, strict=bool(shown)):
        known = words.any(dim=1).nonzero().flatten() if words is not None else torch.zeros(0, dtype=torch.long)
        if words is not None and len(known):
            found.append(words[known].to(prior.dtype))
            places.append(first + known)
        first += int(images.sum())
    return found, torch.cat(places)


def word_prior(tokens: Tokens, vocabulary: int, texts: Iterable[str]) -> Tensor:
    """(V,) log odds that a text has each token of a vocabulary of so many."""
    counts, total = torch.zeros(vocabulary), 0
    for text in texts:
        counts[list(set(tokens.encode(text)))] += 1
        total += 1
    return torch.logit((counts + 0.5) / (total + 1))
