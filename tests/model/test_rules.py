"""Schedules and rules, on logits that need no model."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.rules import Pools, advance, denoise, denoise_blocks
from model.sampling import Prediction
from model.settings import SAMPLERS, Rule, Sampling

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
    result = denoise(oracle, torch.full((pools, slots), MASK), MASK, Rule("remask", steps), Sampling())
    left = [int(slots * (steps - 1 - s) / steps) for s in range(steps)]
    seen = [int((canvas == MASK).sum(dim=1)[0]) for canvas in oracle.shown]
    assert seen == [slots, *left][: len(seen)]
    assert not (result.tokens == MASK).any()
    assert result.forwards == len(seen) <= steps
    assert torch.equal(result.tokens, oracle.logits.argmax(dim=2))


def test_remasking_ends_once_nothing_is_left_to_write():
    oracle = Oracle(1, 2)
    assert (
        denoise(oracle, torch.full((1, 2), MASK), MASK, Rule("remask", 10), Sampling()).forwards == 6
    )  # 10 steps, 2 slots
    assert denoise(oracle, torch.tensor([[3, 4]]), MASK, Rule("remask", 10), Sampling()).forwards == 0


def test_remasking_judges_written_slots_too():
    """Slot 0 is written first, then its prediction loses confidence and it is masked again."""
    calls = iter(
        [
            torch.tensor([[[9.0, 0, 0], [0, 1, 0], [0, 0, 1]]]),
            torch.tensor([[[0, 0.1, 0], [0, 9, 0], [0, 0, 8.0]]]),
            torch.tensor([[[0, 0, 5.0], [0, 9, 0], [0, 0, 8]]]),
        ]
    )
    result = denoise(lambda _: next(calls), torch.full((1, 3), MASK), MASK, Rule("remask", 3), Sampling())
    assert result.tokens.tolist() == [[2, 1, 2]]


@pytest.mark.parametrize("sampler", ["remask", "topk"])
def test_steps_count_only_while_a_pool_has_something_to_write(sampler):
    canvas = torch.tensor([[3] * 6, [MASK] * 6, [MASK, 3, 3, 3, 3, 3]])
    result = denoise(Oracle(3, 6), canvas, MASK, Rule(sampler, 6), Sampling())
    assert result.steps.tolist() == [0, 6, 1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_pool_with_a_logit_that_is_no_number_is_broken(sampler, temperature, value):
    oracle = Oracle(3, 6)
    oracle.logits[1, 4, 2] = value
    oracle.logits[2, 0, :3] = -math.inf  # no more than a probability of 0
    generators = [torch.Generator() for _ in range(3)]
    sampling = Sampling(temperature=temperature, top_p=0.9, top_k=5)
    result = denoise(oracle, torch.full((3, 6), MASK), MASK, Rule(sampler, 3), sampling, generators)
    assert result.broken.tolist() == [False, True, False]


def test_blocks_remember_what_broke_in_the_first_of_them():
    oracle = Oracle(2, 6)
    canvas = torch.full((2, 6), MASK)
    assert not denoise_blocks(oracle, canvas, MASK, 6, 2, Sampling()).broken.any()

    def logits_fn(canvas):
        return oracle.logits.index_fill(0, torch.tensor([1]), math.nan) if (canvas == MASK).all() else oracle.logits

    assert denoise_blocks(logits_fn, canvas, MASK, 6, 2, Sampling()).broken.tolist() == [False, True]


@given(**SHAPES)
def test_revealing_writes_an_even_share_in_every_step(pools, slots, steps):
    oracle = Oracle(pools, slots)
    result = denoise(oracle, torch.full((pools, slots), MASK), MASK, Rule("topk", steps), Sampling())
    left = [int((canvas == MASK).sum(dim=1)[0]) for canvas in oracle.shown] + [0]
    written = [a - b for a, b in itertools.pairwise(left)]
    assert sum(written) == slots
    assert max(written) - min(written) <= 1
    assert written == sorted(written, reverse=True)
    assert result.forwards == min(slots, steps)
    assert (result.steps == result.forwards).all()


@given(**SHAPES, kept=st.data())
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_only_masked_slots_are_written(sampler, pools, slots, steps, kept):
    canvas = torch.tensor(
        kept.draw(
            st.lists(
                st.lists(st.sampled_from([MASK, 3]), min_size=slots, max_size=slots), min_size=pools, max_size=pools
            )
        )
    )
    oracle = Oracle(pools, slots)
    result = denoise(oracle, canvas, MASK, Rule(sampler, steps), Sampling())
    assert torch.equal(result.tokens[canvas != MASK], canvas[canvas != MASK])
    assert not (result.tokens == MASK).any()
    assert (result.confidence[canvas != MASK] == 0).all()
    for shown in oracle.shown:
        assert torch.equal(shown[canvas != MASK], canvas[canvas != MASK])


def test_what_is_revealed_stays_and_the_most_confident_comes_first():
    oracle = Oracle(2, 8)
    denoise(oracle, torch.full((2, 8), MASK), MASK, Rule("topk", 8), Sampling())
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
    result = denoise(
        oracle, torch.full((1, 6), MASK), MASK, Rule("threshold", 6, threshold=float(sure[2]) - 1e-6), Sampling()
    )
    left = [int((canvas == MASK).sum()) for canvas in oracle.shown]
    assert left == [6, 3, 2, 1]
    assert result.forwards == 4
    assert (
        denoise(oracle, torch.full((1, 6), MASK), MASK, Rule("threshold", 6, threshold=1e-9), Sampling()).forwards == 1
    )


def test_blocks_are_written_one_after_the_other():
    oracle = Oracle(1, 8)
    denoise_blocks(oracle, torch.full((1, 8), MASK), MASK, 4, 4, Sampling())
    masked = [(canvas == MASK)[0].tolist() for canvas in oracle.shown]
    assert [sum(m[:4]) for m in masked] == [4, 2, 0, 0]
    assert [sum(m[4:]) for m in masked] == [4, 4, 4, 2]


def test_blocks_after_the_end_of_every_row_are_not_written():
    def logits(canvas: torch.Tensor) -> torch.Tensor:
        """Row 0 ends in its first block, row 1 in its second."""
        wanted = torch.tensor([[3, 7, 1, 1, 1, 1], [2, 2, 7, 2, 2, 2]])
        return torch.nn.functional.one_hot(wanted, VOCABULARY)[: len(canvas)].float()

    canvas = torch.full((2, 6), MASK)
    both = denoise_blocks(logits, canvas, MASK, 6, 2, Sampling(), ends=(7,))
    assert both.tokens.tolist() == [[3, 7, 1, 1, MASK, MASK], [2, 2, 7, 2, MASK, MASK]]
    first = denoise_blocks(logits, canvas[:1], MASK, 6, 2, Sampling(), ends=(5, 7))
    assert (first.tokens.tolist(), first.forwards) == ([[3, 7, MASK, MASK, MASK, MASK]], 2)
    assert denoise_blocks(logits, canvas, MASK, 6, 2, Sampling()).forwards == 6


def test_block_length_one_is_left_to_right():
    oracle = Oracle(1, 5)
    denoise_blocks(oracle, torch.full((1, 5), MASK), MASK, 5, 1, Sampling())
    assert [(canvas == MASK)[0].tolist().index(True) for canvas in oracle.shown] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("steps", "block"), [(4, 3), (3, 4)])
def test_uneven_blocks_are_refused(steps, block):
    with pytest.raises(ValueError, match="divides"):
        denoise_blocks(Oracle(1, 8), torch.full((1, 8), MASK), MASK, steps, block, Sampling())


def test_banned_tokens_are_never_written():
    oracle = Oracle(2, 6)
    banned = torch.tensor([0, 3, 5])
    for temperature in (0.0, 2.0):
        sampling = Sampling(temperature=temperature, banned=banned)
        generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
        result = denoise(oracle, torch.full((2, 6), MASK), MASK, Rule("topk", 3), sampling, generators)
        assert not torch.isin(result.tokens, banned).any()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_tokens_drawn_against_all_odds_are_written_too(sampler):
    """At a high temperature the second token is drawn half of the time, although its probability is 0 in fp32."""
    logits = torch.tensor([200.0, 0.0]).expand(2, 8, 2)
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    sampling = Sampling(temperature=1e6)
    result = denoise(lambda _: logits, torch.full((2, 8), MASK), MASK, Rule(sampler, 4), sampling, generators)
    assert result.confidence.isneginf().any()
    assert not (result.tokens == MASK).any()


def written(rule: Rule, certainty: list[float], entropy: list[float] | None = None) -> list[int]:
    """Slots that the first step writes."""
    pools = Pools.start(torch.full((1, len(certainty)), MASK), MASK)
    numbers = torch.tensor([certainty])
    guess = Prediction(
        torch.zeros_like(pools.tokens), numbers.log(), None if entropy is None else torch.tensor([entropy])
    )
    return (advance(pools, guess, rule, MASK).tokens[0] == 0).nonzero().squeeze(1).tolist()


def test_factor_writes_the_largest_n_that_are_sure_enough_for_their_number():
    """2 * 0.02, 3 * 0.1 and 4 * 0.2 against 0.5: the first two."""
    certainty = [0.8, 0.9, 0.5, 0.98]
    assert written(Rule("factor", 8, factor=0.5), certainty) == [1, 3]
    assert written(Rule("factor", 8, factor=0.81), certainty) == [0, 1, 3]
    assert written(Rule("factor", 8, factor=1e-6), certainty) == [3]  # at least one
    assert written(Rule("factor", 2, factor=1e-6), certainty) == [1, 3]  # and the share of the step


def test_entropy_writes_what_stays_under_the_bound_without_the_last():
    """0.1, 0.3 and 0.6 before the third, fourth: 0.1 + 0.2 <= 0.3 < 0.1 + 0.2 + 0.3."""
    certainty, entropy = [0.9] * 4, [0.3, 0.1, 0.9, 0.2]
    assert written(Rule("entropy", 8, entropy=0.31), certainty, entropy) == [0, 1, 3]
    assert written(Rule("entropy", 8, entropy=0.11), certainty, entropy) == [1, 3]
    assert written(Rule("entropy", 8, entropy=0.0), certainty, entropy) == [1]
    assert written(Rule("entropy", 2, entropy=0.0), certainty, entropy) == [1, 3]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_pool_that_has_become_stable_is_written_to_its_end(sampler):
    """The oracle never changes its mind, so the second step finds what the first has left."""
    rule = Rule(sampler, 12, threshold=1.0, factor=1e-9, entropy=0.0)
    oracle, canvas = Oracle(2, 12), torch.full((2, 12), MASK)
    whole = denoise(oracle, canvas, MASK, rule, Sampling())
    assert whole.forwards == 12
    for stable in (1, 3):
        early = Rule(sampler, 12, threshold=1.0, factor=1e-9, entropy=0.0, stable=stable)
        result = denoise(oracle, canvas, MASK, early, Sampling())
        assert result.forwards == 1 + stable
        assert torch.equal(result.tokens, whole.tokens)


def test_a_pool_that_changes_its_mind_is_not_stable():
    flips = itertools.count()

    def logits_fn(canvas):
        return torch.eye(2)[next(flips) % 2].expand(1, 6, 2)

    rule = Rule("topk", 6, stable=1)
    assert denoise(logits_fn, torch.full((1, 6), MASK), MASK, rule, Sampling()).forwards == 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler": "magic"}, "remask, topk, threshold, factor, entropy"),
        ({"steps": 0}, "steps >= 1"),
        ({"stable": -1}, "stable >= 0"),
        ({"threshold": 0}, "threshold in"),
        ({"factor": 0}, "factor above 0"),
        ({"entropy": -1}, "entropy >= 0"),
    ],
)
def test_unusable_rules_say_what_is_allowed(fields, message):
    with pytest.raises(ValueError, match=message):
        Rule(**fields)
