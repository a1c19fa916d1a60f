"""Schedules, rules and the loss, on logits that need no model."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.diffusion import (
    EPSILON,
    Noise,
    Sampling,
    add_noise,
    denoise_blocks,
    denoise_remask,
    denoise_reveal,
    draw_hits,
    guided,
    mask_probability,
    nucleus,
    predict,
    weighted_entropy,
)

MASK = 9
VOCABULARY = 8  # tokens a prediction can be; the mask is none of them


class Oracle:
    """Fixed random logits, and a record of every canvas it was shown."""

    def __init__(self, pools: int, slots: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.logits = torch.randn(pools, slots, VOCABULARY, generator=generator)
        self.shown: list[torch.Tensor] = []

    def __call__(self, canvas: torch.Tensor) -> torch.Tensor:
        self.shown.append(canvas.clone())
        return self.logits


SHAPES = {"pools": st.integers(1, 3), "slots": st.integers(1, 12), "steps": st.integers(1, 20)}


@given(**SHAPES)
def test_remasking_follows_the_released_schedule(pools, slots, steps):
    oracle = Oracle(pools, slots)
    result = denoise_remask(oracle, torch.full((pools, slots), MASK), MASK, steps, Sampling())
    left = [int(slots * (steps - 1 - s) / steps) for s in range(steps)]
    seen = [int((canvas == MASK).sum(dim=1)[0]) for canvas in oracle.shown]
    assert seen == [slots, *left][: len(seen)]
    assert not (result.tokens == MASK).any()
    assert result.forwards == len(seen) <= steps
    assert torch.equal(result.tokens, oracle.logits.argmax(dim=2))


def test_remasking_ends_once_nothing_is_left_to_write():
    oracle = Oracle(1, 2)
    assert denoise_remask(oracle, torch.full((1, 2), MASK), MASK, 10, Sampling()).forwards == 6  # 10 steps, 2 slots
    assert denoise_remask(oracle, torch.tensor([[3, 4]]), MASK, 10, Sampling()).forwards == 0


def test_remasking_judges_written_slots_too():
    """Slot 0 is written first, then its prediction loses confidence and it is masked again."""
    calls = iter(
        [
            torch.tensor([[[9.0, 0, 0], [0, 1, 0], [0, 0, 1]]]),
            torch.tensor([[[0, 0.1, 0], [0, 9, 0], [0, 0, 8.0]]]),
            torch.tensor([[[0, 0, 5.0], [0, 9, 0], [0, 0, 8]]]),
        ]
    )
    result = denoise_remask(lambda _: next(calls), torch.full((1, 3), MASK), MASK, 3, Sampling())
    assert result.tokens.tolist() == [[2, 1, 2]]


@pytest.mark.parametrize("rule", [denoise_remask, denoise_reveal])
def test_steps_count_only_while_a_pool_has_something_to_write(rule):
    canvas = torch.tensor([[3] * 6, [MASK] * 6, [MASK, 3, 3, 3, 3, 3]])
    result = rule(Oracle(3, 6), canvas, MASK, 6, Sampling())
    assert result.steps.tolist() == [0, 6, 1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("rule", [denoise_remask, denoise_reveal])
def test_a_pool_with_a_logit_that_is_no_number_is_broken(rule, temperature, value):
    oracle = Oracle(3, 6)
    oracle.logits[1, 4, 2] = value
    oracle.logits[2, 0, :3] = -math.inf  # no more than a probability of 0
    generators = [torch.Generator() for _ in range(3)]
    sampling = Sampling(temperature=temperature, top_p=0.9, top_k=5)
    result = rule(oracle, torch.full((3, 6), MASK), MASK, 3, sampling, generators)
    assert result.broken.tolist() == [False, True, False]


def test_blocks_remember_what_broke_in_the_first_of_them():
    oracle = Oracle(2, 6)
    canvas = torch.full((2, 6), MASK)
    assert not denoise_blocks(oracle, canvas, MASK, 6, 2, Sampling()).broken.any()

    def logits_fn(canvas):
        return oracle.logits.index_fill(0, torch.tensor([1]), math.nan) if (canvas == MASK).all() else oracle.logits

    assert denoise_blocks(logits_fn, canvas, MASK, 6, 2, Sampling()).broken.tolist() == [False, True]


def test_near_certain_tokens_keep_their_order():
    """Odds of 1e-9 and 1e-12 against: both probabilities are 1 in fp32."""
    logits = torch.tensor([[[20.7, 0.0], [27.6, 0.0], [5.0, 0.0]]])
    tokens, certainty = predict(logits, Sampling())
    assert tokens.tolist() == [[0, 0, 0]]
    assert certainty[0].argsort().tolist() == [2, 0, 1]
    torch.testing.assert_close(certainty.double(), logits.double().log_softmax(dim=2)[..., 0], rtol=1e-3, atol=0)


@given(**SHAPES)
def test_revealing_writes_an_even_share_in_every_step(pools, slots, steps):
    oracle = Oracle(pools, slots)
    result = denoise_reveal(oracle, torch.full((pools, slots), MASK), MASK, steps, Sampling())
    left = [int((canvas == MASK).sum(dim=1)[0]) for canvas in oracle.shown] + [0]
    written = [a - b for a, b in itertools.pairwise(left)]
    assert sum(written) == slots
    assert max(written) - min(written) <= 1
    assert written == sorted(written, reverse=True)
    assert result.forwards == min(slots, steps)
    assert (result.steps == result.forwards).all()


@given(**SHAPES, kept=st.data())
@pytest.mark.parametrize("rule", [denoise_remask, denoise_reveal])
def test_only_masked_slots_are_written(rule, pools, slots, steps, kept):
    canvas = torch.tensor(
        kept.draw(
            st.lists(
                st.lists(st.sampled_from([MASK, 3]), min_size=slots, max_size=slots), min_size=pools, max_size=pools
            )
        )
    )
    oracle = Oracle(pools, slots)
    result = rule(oracle, canvas, MASK, steps, Sampling())
    assert torch.equal(result.tokens[canvas != MASK], canvas[canvas != MASK])
    assert not (result.tokens == MASK).any()
    assert (result.confidence[canvas != MASK] == 0).all()
    for shown in oracle.shown:
        assert torch.equal(shown[canvas != MASK], canvas[canvas != MASK])


def test_what_is_revealed_stays_and_the_most_confident_comes_first():
    oracle = Oracle(2, 8)
    denoise_reveal(oracle, torch.full((2, 8), MASK), MASK, 8, Sampling())
    order = oracle.logits.log_softmax(dim=2).max(dim=2).values.argsort(dim=1, descending=True)
    for pool in range(2):
        revealed = [
            int(((a == MASK) & (b != MASK))[pool].nonzero())
            for a, b in zip(oracle.shown, oracle.shown[1:], strict=False)
        ]
        assert revealed == order[pool, :7].tolist()


def test_threshold_writes_at_least_one_and_all_that_are_sure():
    oracle = Oracle(1, 6)
    sure = oracle.logits.softmax(dim=2).max(dim=2).values[0].sort(descending=True).values
    result = denoise_reveal(oracle, torch.full((1, 6), MASK), MASK, 6, Sampling(), threshold=float(sure[2]) - 1e-6)
    left = [int((canvas == MASK).sum()) for canvas in oracle.shown]
    assert left == [6, 3, 2, 1]
    assert result.forwards == 4
    assert denoise_reveal(oracle, torch.full((1, 6), MASK), MASK, 6, Sampling(), threshold=1e-9).forwards == 1


def test_blocks_are_written_one_after_the_other():
    oracle = Oracle(1, 8)
    denoise_blocks(oracle, torch.full((1, 8), MASK), MASK, 4, 4, Sampling())
    masked = [(canvas == MASK)[0].tolist() for canvas in oracle.shown]
    assert [sum(m[:4]) for m in masked] == [4, 2, 0, 0]
    assert [sum(m[4:]) for m in masked] == [4, 4, 4, 2]


def test_block_length_one_is_left_to_right():
    oracle = Oracle(1, 5)
    denoise_blocks(oracle, torch.full((1, 5), MASK), MASK, 5, 1, Sampling())
    assert [(canvas == MASK)[0].tolist().index(True) for canvas in oracle.shown] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("steps", "block"), [(4, 3), (3, 4)])
def test_uneven_blocks_are_refused(steps, block):
    with pytest.raises(ValueError, match="divides"):
        denoise_blocks(Oracle(1, 8), torch.full((1, 8), MASK), MASK, steps, block, Sampling())


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
    tokens, confidence = draw(0)
    shares = tokens.bincount(minlength=3) if tokens.ndim == 1 else tokens[0].bincount(minlength=3)
    assert shares.tolist() == pytest.approx([10000, 6000, 4000], rel=0.05)
    torch.testing.assert_close(confidence, logits.gather(2, tokens[..., None]).squeeze(2))
    assert torch.equal(tokens, draw(0)[0])
    assert not torch.equal(tokens, draw(1)[0])


def test_each_caption_draws_from_its_own_generator():
    """Two captions in one pool of ten slots draw what they draw in two pools of five."""
    logits = torch.randn(1, 10, 7, generator=torch.Generator().manual_seed(0))
    generators = lambda: [torch.Generator().manual_seed(seed) for seed in (3, 4)]  # noqa: E731
    sampling = Sampling(temperature=1.0)
    together = predict(logits, sampling, generators())[0]
    apart = predict(logits.view(2, 5, 7), sampling, generators())[0]
    assert torch.equal(together.view(2, 5), apart)


def test_banned_tokens_are_never_written():
    oracle = Oracle(2, 6)
    banned = torch.tensor([0, 3, 5])
    for temperature in (0.0, 2.0):
        sampling = Sampling(temperature=temperature, banned=banned)
        generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
        result = denoise_reveal(oracle, torch.full((2, 6), MASK), MASK, 3, sampling, generators)
        assert not torch.isin(result.tokens, banned).any()


def test_guidance_moves_away_from_the_unconditional_logits():
    conditional, blind = Oracle(1, 3, seed=1), Oracle(1, 3, seed=2)
    canvas = torch.full((1, 3), MASK)
    expected = 1.7 * conditional.logits - 0.7 * blind.logits
    torch.testing.assert_close(guided(conditional, blind, 0.7)(canvas), expected)
    torch.testing.assert_close(guided(conditional, blind, 0.0)(canvas), conditional.logits)


# --- training ---------------------------------------------------------------------------------------------------


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
