"""Masked diffusion as it is trained: noise and the loss, as pure functions (equations 1 and 2)."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

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
