"""One prediction: tokens, their certainty, and the output layer some rows at a time."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.head import likeliest_tokens
from model.sampling import BLOCK, guided, likeliest, nucleus, predict
from model.settings import Sampling


def test_near_certain_tokens_keep_their_order():
    """Odds of 1e-9 and 1e-12 against: both probabilities are 1 in fp32."""
    logits = torch.tensor([[[20.7, 0.0], [27.6, 0.0], [5.0, 0.0]]])
    guess = predict(logits, Sampling())
    tokens, certainty = guess.tokens, guess.certainty
    assert tokens.tolist() == [[0, 0, 0]]
    assert certainty[0].argsort().tolist() == [2, 0, 1]
    torch.testing.assert_close(certainty.double(), logits.double().log_softmax(dim=2)[..., 0], rtol=1e-3, atol=0)


@given(top_p=st.floats(0.05, 0.999), top_k=st.integers(0, 10), seed=st.integers(0, 50))
def test_nucleus_is_the_smallest_set_with_enough_probability(top_p, top_k, seed):
    logits = torch.randn(1, 1, 10, generator=torch.Generator().manual_seed(seed)) * 2
    kept = nucleus(logits, top_p, top_k)[0, 0].isfinite()
    probability = logits[0, 0].softmax(dim=0)
    if top_k:
        allowed = probability.topk(top_k).indices
        probability = torch.zeros(10).index_copy(0, allowed, probability[allowed])
        probability /= probability.sum()
    ranked, order = probability.sort(descending=True)
    count = next(n for n in range(1, 11) if ranked[:n].sum() >= top_p - 1e-6)
    assert set(order[:count].tolist()) == set(kept.nonzero().squeeze(1).tolist())


def test_sampling_follows_the_distribution_and_the_seed():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).expand(1, 20000, 3)
    draw = lambda seed: predict(logits, Sampling(temperature=1.0), [torch.Generator().manual_seed(seed)])  # noqa: E731
    tokens, confidence = draw(0).tokens, draw(0).certainty
    shares = tokens.bincount(minlength=3) if tokens.ndim == 1 else tokens[0].bincount(minlength=3)
    assert shares.tolist() == pytest.approx([10000, 6000, 4000], rel=0.05)
    torch.testing.assert_close(confidence, logits.gather(2, tokens[..., None]).squeeze(2))
    assert torch.equal(tokens, draw(0).tokens)
    assert not torch.equal(tokens, draw(1).tokens)


def test_each_caption_draws_from_its_own_generator():
    """Two captions in one pool of ten slots draw what they draw in two pools of five."""
    logits = torch.randn(1, 10, 7, generator=torch.Generator().manual_seed(0))
    generators = lambda: [torch.Generator().manual_seed(seed) for seed in (3, 4)]  # noqa: E731
    sampling = Sampling(temperature=1.0)
    together = predict(logits, sampling, generators()).tokens
    apart = predict(logits.view(2, 5, 7), sampling, generators()).tokens
    assert torch.equal(together.view(2, 5), apart)


def test_guidance_moves_away_from_the_unconditional_logits():
    logits = [torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    conditional, blind = lambda canvas: logits[0], lambda canvas: logits[1]
    canvas = torch.zeros(1, 3, dtype=torch.long)
    expected = 1.7 * logits[0] - 0.7 * logits[1]
    torch.testing.assert_close(guided(conditional, blind, 0.7)(canvas), expected)
    torch.testing.assert_close(guided(conditional, blind, 0.0)(canvas), logits[0])


@given(
    blocks=st.integers(1, 3),
    more=st.integers(0, 2),
    odd=st.lists(st.tuples(st.integers(0, 800), st.sampled_from([math.nan, math.inf, -math.inf, 9.0])), max_size=4),
    seed=st.integers(0, 99),
)
def test_blocks_hold_the_place_that_a_plain_argmax_finds(blocks, more, odd, seed):
    """The first of several that are as large; and a vocabulary that is no multiple of a block."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-3, 4, (2, 3, BLOCK * blocks + more), generator=generator).float()
    for place, value in odd:
        logits[..., place % logits.shape[-1]] = value
    assert torch.equal(likeliest(logits), logits.argmax(dim=-1))


@given(
    rows=st.integers(0, 5),
    vocabulary=st.integers(2, 40),
    at_once=st.integers(1, 6),
    scale=st.sampled_from([0.1, 3.0, 40.0]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_some_rows_find_what_whole_logits_do(rows, vocabulary, at_once, scale, seed, data):
    generator = torch.Generator().manual_seed(seed)
    hidden, head = torch.randn(rows, 6, generator=generator), torch.nn.Linear(6, vocabulary, bias=False)
    head.weight.data = torch.randn(vocabulary, 6, generator=generator) * scale
    banned = data.draw(st.lists(st.integers(0, vocabulary - 1), max_size=vocabulary - 1, unique=True))
    sampling = Sampling(banned=torch.tensor(banned, dtype=torch.long))
    expected = predict(head(hidden)[None], sampling, entropy=True)
    for entropy in (True, False):
        found = likeliest_tokens(head, hidden, sampling, entropy, at_once)
        assert torch.equal(found.tokens, expected.tokens[0])
        torch.testing.assert_close(found.certainty, expected.certainty[0], rtol=1e-4, atol=1e-6)
        assert (found.entropy is not None) == entropy
        if entropy:
            torch.testing.assert_close(found.entropy, expected.entropy[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("place", range(6))
def test_a_logit_that_is_no_number_is_found(value, place):
    """Its own row of the output layer is the only one to see it."""
    head, hidden = torch.nn.Linear(1, 6, bias=False), torch.ones(2, 1)
    head.weight.data = torch.arange(1.0, 7.0)[:, None]
    head.weight.data[place] = value
    assert likeliest_tokens(head, hidden, Sampling()).certainty.isnan().all()
    assert likeliest_tokens(head, hidden, Sampling(banned=torch.tensor([place]))).certainty.isfinite().all()
