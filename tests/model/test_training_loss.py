"""The loss through the model: batches, gradients, both semantics."""

from dataclasses import replace

import pytest
import torch

from model.batch import Batch, collate_passes, with_twins
from model.diffusion import Noise, add_noise, draw_hits, mask_probability
from model.layout import plan_pass
from model.sizes import random_model
from tests.model.support import ISOLATED, RELEASED, one_pass, tiny

TEXTS = ["a red car", "", "a house with a door, longer than its span", "sky"]


def training_batch(model, passes) -> Batch:
    layouts = []
    for prepared in passes:
        captions = [model.tokens.encode_caption(TEXTS[i % 4], 12) for i in range(len(prepared.order))]
        layouts.append(plan_pass(model.tokens, model.config, tiles=len(prepared.image.tiles), captions=captions))
    return collate_passes(passes, layouts, model.config)


def noise_of(model, batch: Batch, seed: int = 0) -> Noise:
    generator = torch.Generator().manual_seed(seed)
    probability = mask_probability(torch.rand(len(batch.input_ids), generator=generator))
    hit = draw_hits(batch.labelled, probability, generator)
    return add_noise(batch.input_ids, probability, hit, model.tokens.mask)


def rows(noise: Noise, row: int, batch: Batch, alone: Batch) -> Noise:
    """The noise of one row of a batch, for the row alone: its padding taken away."""
    answer = alone.input_ids.shape[1] - alone.prefix
    keep = [*range(alone.prefix), *range(batch.prefix, batch.prefix + answer)]
    return Noise(noise.probability[row : row + 1], noise.hit[row : row + 1, keep], noise.tokens[row : row + 1, keep])


@pytest.mark.parametrize("regions", [ISOLATED, RELEASED], ids=["isolated", "released"])
def test_loss_and_gradients_of_a_batch_are_those_of_its_samples(regions):
    model = tiny(regions)
    passes = [one_pass(model, 300, 200, 3), one_pass(model, 120, 128, 1, seed=2), one_pass(model, 90, 260, 4, seed=3)]
    batch = training_batch(model, passes)
    noise = noise_of(model, batch)

    def gradients(losses) -> dict[str, torch.Tensor]:
        model.zero_grad(set_to_none=True)
        sum(losses).backward()
        found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        model.zero_grad(set_to_none=True)
        return found

    singles = []
    for row, prepared in enumerate(passes):
        alone = training_batch(model, [prepared])
        singles.append(model(alone, rows(noise, row, batch, alone)))
    together = model(batch, noise)
    assert together.item() == pytest.approx(sum(single.item() for single in singles) / 3, rel=1e-5)
    expected = gradients([single / 3 for single in singles])
    found = gradients([together])
    assert found.keys() == expected.keys()
    # Some gradients are zero but for rounding (a key bias shifts all scores alike): compared at the scale of the rest.
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in found.items():
        scale = max(float(expected[name].abs().max()), 1e-3 * largest)
        torch.testing.assert_close(gradient / scale, expected[name] / scale, rtol=0, atol=1e-3, msg=name)


def test_captions_fill_their_span_and_padding_is_learnt():
    model = tiny(ISOLATED)
    tokens = model.tokens
    assert tokens.encode_caption("ab", 4) == [*tokens.encode("ab"), tokens.end_of_turn, tokens.end_of_turn]
    assert tokens.encode_caption("abcdef", 4) == tokens.encode("abcd")
    batch = training_batch(model, [one_pass(model, 300, 200, 2)])
    assert int(batch.labelled.sum()) == 2 * 12
    assert (batch.input_ids[batch.labelled][12:] == tokens.end_of_turn).all()  # the empty caption


def test_nothing_hit_is_no_loss_and_everything_hit_is_plain_cross_entropy():
    model = tiny(ISOLATED)
    batch = training_batch(model, [one_pass(model, 300, 200, 2)])
    one = torch.ones(1)
    nothing = add_noise(batch.input_ids, one, torch.zeros_like(batch.labelled), model.tokens.mask)
    assert model(batch, nothing).item() == 0.0
    everything = add_noise(batch.input_ids, one, batch.labelled, model.tokens.mask)
    logits = model(replace(batch, input_ids=everything.tokens))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 2), batch.input_ids[batch.labelled])
    assert model(batch, everything).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_few_steps_of_gradient_descent_lower_the_loss():
    model = random_model("tiny", seed=3).train()
    batch = training_batch(model, [one_pass(model, 300, 200, 3)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before = model(batch, noise_of(model, batch)).item()
    for step in range(30):
        optimizer.zero_grad()
        model(batch, noise_of(model, batch, seed=step)).backward()
        optimizer.step()
    assert model(batch, noise_of(model, batch)).item() < 0.7 * before


def test_captions_and_their_twins_learn_what_they_would_alone():
    """Also: neither sees the other, though each shows what the other is to find out."""
    model = tiny(ISOLATED)
    batch = training_batch(model, [one_pass(model, 300, 200, 3), one_pass(model, 90, 260, 4, seed=3)])
    first = noise_of(model, batch)
    second = add_noise(batch.input_ids, 1 - first.probability, batch.labelled & ~first.hit, model.tokens.mask)
    twins = with_twins(batch)
    hit = torch.cat([first.hit, second.hit[:, batch.answer]], dim=1)
    both = replace(add_noise(twins.input_ids, first.probability, hit, model.tokens.mask), twin=twins.twin)
    assert both.hit.sum() == batch.labelled.sum()
    alone = (model(batch, first).item() + model(batch, second).item()) / 2
    assert model(twins, both).item() == pytest.approx(alone, rel=1e-5)
