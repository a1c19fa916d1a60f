"""Noise of a batch, drawn for each sample alone: the same sample gets the same noise in whatever batch it is.

So a batch equals its samples one by one, two processes equal one with twice the batch, and a resumed run goes on as it
was, all without a random state to save.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from model.batch import Batch
from model.diffusion import Noise, add_noise, draw_hits, mask_probability
from model.tokens import Tokens
from pdlm_cli.training.job import Noising
from pdlm_cli.training.order import NOISE, mix


def plain_words(tokens: Tokens) -> Tensor:
    """Ids of the tokenizer that are no special tokens."""
    return torch.tensor(sorted(set(tokens.tokenizer.get_vocab().values()) - tokens.special))


def draw_noise(
    batch: Batch,
    places: Sequence[int],
    noising: Noising,
    *,
    seed: int,
    step_samples: int,
    mask_token: int,
    words: Tensor,
) -> Noise:
    """Noise for the rows of a batch.

    places: of each row in the stream of samples. step_samples: samples of an optimizer step, over which stratified
    times are spread. words: ids that may stand in for a hit token under replacement noise.
    """
    hit = torch.zeros_like(batch.labelled)
    replacements = torch.full_like(batch.input_ids, -1) if noising.replace > 0 else None
    probability = torch.empty(len(places))
    drawn_for = batch.labelled if batch.twin is None else batch.labelled & ~batch.twin
    for row, place in enumerate(places):
        generator = torch.Generator().manual_seed(int(mix(seed, place, NOISE)) >> 1)
        t = torch.rand(1, generator=generator)
        if noising.times == "stratified":
            t = (place % step_samples + t) / step_samples  # the order of samples is random already
        probability[row] = mask_probability(t)
        labels = drawn_for[row]
        count = int(labels.sum())
        hit[row, labels] = draw_hits(torch.ones(1, count, dtype=torch.bool), probability[row : row + 1], generator)[0]
        if replacements is not None:
            drawn = words[torch.randint(len(words), (count,), generator=generator)]
            swapped = torch.rand(count, generator=generator) < noising.replace
            replacements[row, labels] = torch.where(swapped, drawn, -1)
    if batch.twin is not None:
        first, second = hit[:, batch.answer].chunk(2, dim=1)
        second |= batch.labelled[:, batch.answer].chunk(2, dim=1)[1] & ~first
    noise = add_noise(batch.input_ids, probability, hit, mask_token, replacements)
    return replace(noise, twin=batch.twin)
