"""Noise and the loss."""

import math

import pytest
import torch

from model.diffusion import EPSILON, Noise, add_noise, draw_hits, mask_probability, weighted_entropy

MASK = 9


def test_probability_of_masking_is_never_zero():
    assert mask_probability(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([EPSILON, 1.0])


def test_hits_are_labels_only_and_as_many_as_their_probability():
    labelled = torch.ones(2, 50000, dtype=torch.bool)
    labelled[:, ::2] = False
    hit = draw_hits(labelled, torch.tensor([0.2, 0.9]), torch.Generator().manual_seed(0))
    assert not hit[:, ::2].any()
    assert (hit.sum(dim=1) / 25000).tolist() == pytest.approx([0.2, 0.9], rel=0.03)


def test_loss_is_equation_2_written_out():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, generator=generator)
    tokens = torch.tensor([[1, 2, 3, 4], [0, 1, 2, 3]])
    labelled = torch.tensor([[False, True, True, True], [True, True, False, True]])
    hit = torch.tensor([[False, True, False, True], [True, False, False, False]])
    probability = torch.tensor([0.5, 0.25])
    noise = add_noise(tokens, probability, hit, MASK)
    assert noise.tokens.tolist() == [[1, MASK, 3, MASK], [MASK, 1, 2, 3]]

    def entropy(sample: int, place: int) -> float:
        row = logits[sample, place].tolist()
        return math.log(sum(math.exp(x) for x in row)) - row[int(tokens[sample, place])]

    first = (entropy(0, 1) + entropy(0, 3)) / 0.5 / 3
    second = entropy(1, 0) / 0.25 / 3
    assert loss(logits, tokens, labelled, noise) == pytest.approx((first + second) / 2, rel=1e-5)

    noise = add_noise(tokens, probability, hit, MASK, torch.full_like(tokens, -1))
    first = (entropy(0, 1) + entropy(0, 2) + entropy(0, 3)) / 3
    second = (entropy(1, 0) + entropy(1, 1) + entropy(1, 3)) / 3
    assert loss(logits, tokens, labelled, noise) == pytest.approx((first + second) / 2, rel=1e-5)


def loss(logits: torch.Tensor, tokens: torch.Tensor, labelled: torch.Tensor, noise: Noise) -> float:
    weights = noise.weights(labelled)
    return weighted_entropy(logits.flatten(0, 1), tokens.flatten(), weights.flatten()).item()


def test_replacement_noise_puts_recorded_tokens_where_it_says():
    tokens = torch.tensor([[1, 2, 3, 4]])
    hit = torch.tensor([[True, True, False, True]])
    replacements = torch.tensor([[7, -1, 6, -1]])
    noise = add_noise(tokens, torch.tensor([0.5]), hit, MASK, replacements)
    assert noise.tokens.tolist() == [[7, MASK, 3, MASK]]
