"""Continuous batching against the slow way: everything recomputed in every step, all passes side by side."""

import copy
from dataclasses import replace

import pytest
import torch

from model import caption_rows, rules, stream
from model.captions import PassCaptions
from model.decode import caption_passes
from model.packed import attend_apart, attend_together
from model.pdlm import PerceptionDLM
from model.settings import SAMPLERS, DecodeSettings
from tests.model.support import ISOLATED, one_pass, tiny

# Captions that end at different steps: with random weights every token is about as likely as the next.
EARLY = {"threshold": 0.03, "factor": 1.9, "entropy": 6.0}


def mixed_passes(model):
    """One to six regions, one to seven tiles."""
    sizes = [(300, 200, 3), (100, 100, 1), (700, 300, 6), (300, 200, 2), (90, 200, 4)]
    return [one_pass(model, *size, seed=seed) for seed, size in enumerate(sizes)]


def check(found: list[PassCaptions], expected: list[PassCaptions]) -> None:
    """The same tokens in as many steps; probabilities but for rounding."""
    assert [output.slots for output in found] == [output.slots for output in expected]
    pairs = zip((c for o in found for c in o.captions), (c for o in expected for c in o.captions), strict=True)
    for own, other in pairs:
        assert (own.tokens, own.denoise_steps) == (other.tokens, other.denoise_steps)
        assert own.mean_confidence == pytest.approx(other.mean_confidence, rel=1e-3)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_tokens_are_those_of_the_slow_way_whatever_shares_the_device(sampler, temperature):
    model = tiny(ISOLATED)
    passes = mixed_passes(model)
    settings = DecodeSettings(steps=8, length=8, sampler=sampler, temperature=temperature, stable=3, **EARLY)
    slow = caption_passes(model, passes, replace(settings, cache="none"))
    for lanes in (1, 2, 5):
        outputs = caption_passes(model, passes, settings, lanes=lanes)
        check(outputs, slow)
        assert max(output.together for output in outputs) == lanes


@pytest.mark.parametrize("sampler", ["remask", "topk"])
def test_looking_less_often_changes_nothing(sampler, monkeypatch):
    """At an even schedule with more steps than slots, which is done before its end."""
    model = tiny(ISOLATED)
    settings = DecodeSettings(steps=14, length=8, sampler=sampler)
    expected = caption_passes(model, mixed_passes(model), settings, lanes=2)
    monkeypatch.setitem(rules.POLL, "cpu", 4)
    found = caption_passes(model, mixed_passes(model), settings, lanes=2)
    check(found, expected)


def rows_of_steps(model, passes, settings, lanes) -> tuple[list[int], list[PassCaptions]]:
    """Rows of each forward of the decoder, and what came out."""
    counts = []
    hook = model.language_model.model.layers[0].register_forward_pre_hook(
        lambda module, args: counts.append(args[0].shape[1])
    )
    try:
        outputs = caption_passes(model, passes, settings, lanes=lanes)
    finally:
        hook.remove()
    return counts, outputs


def test_captions_that_are_done_leave_and_waiting_passes_join(monkeypatch):
    """In the step after, however seldom an even schedule is looked at: each of their rows is one that is needed."""
    monkeypatch.setitem(rules.POLL, "cpu", 4)
    model = tiny(ISOLATED)
    passes = [one_pass(model, 300, 200, 2, seed=seed) for seed in range(6)]
    settings = DecodeSettings(steps=8, length=8, sampler="threshold", threshold=EARLY["threshold"])
    rows, outputs = rows_of_steps(model, passes, settings, lanes=2)
    taken = [caption.denoise_steps for output in outputs for caption in output.captions]
    assert min(taken) < max(taken)  # or nobody could leave early
    prefixes = len(passes) * (rows[0] + rows[1]) // 2  # context and RoIs, of two passes at first
    assert sum(rows) == prefixes + sum(taken) * (1 + 8)
    assert rows[2] == 2 * 2 * (1 + 8)


def test_no_step_follows_the_last_that_a_pass_takes_however_seldom_anybody_looks(monkeypatch):
    monkeypatch.setitem(rules.POLL, "cpu", 4)
    model = tiny(ISOLATED)
    passes = [one_pass(model, 300, 200, 2, seed=seed) for seed in range(3)]
    for sampler in ("topk", "remask"):
        rows, outputs = rows_of_steps(model, passes, DecodeSettings(steps=6, length=12, sampler=sampler), lanes=2)
        assert {caption.denoise_steps for output in outputs for caption in output.captions} == {6}
        assert [own for own in rows if own % 13 == 0] == [4 * 13] * 6 + [2 * 13] * 6
        assert len(rows) == 2 * (6 + 2)  # context and RoIs once for each batch of lanes


@pytest.mark.parametrize("attend", [attend_apart, attend_together])
@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_lanes_may_attend_apart_or_together(attend, lanes, monkeypatch):
    """Longer prefixes come while captions are on their way, and lanes in the middle are left empty at the end."""
    monkeypatch.setitem(caption_rows.ATTEND, "cpu", attend)
    model = tiny(ISOLATED)
    passes = [*mixed_passes(model)[1::-1], *mixed_passes(model)]
    settings = DecodeSettings(steps=8, length=8, sampler="threshold", threshold=EARLY["threshold"])
    slow = caption_passes(model, passes, replace(settings, cache="none"))
    check(caption_passes(model, passes, settings, lanes=lanes), slow)


@pytest.mark.fault("device error, NaN logits, hung pass")
@pytest.mark.parametrize("attend", [attend_apart, attend_together])
@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("cache", ["exact", "delayed"])
def test_nan_stays_in_its_pass_whatever_attends_together_and_follows_in_its_lane(
    cache, bad, lanes, attend, monkeypatch
):
    """Of two lanes the third pass takes the first, and is shorter than the one before it and the one beside it."""
    monkeypatch.setitem(caption_rows.ATTEND, "cpu", attend)
    model = tiny(ISOLATED)
    sizes = [(700, 300, 3), (300, 200, 1), (100, 100, 1), (700, 300, 3)]
    passes = [one_pass(model, *size, seed=seed) for seed, size in enumerate(sizes)]
    settings = DecodeSettings(steps=3, length=4, sampler="topk", cache=cache)
    sound = caption_passes(model, passes, settings, lanes=lanes)
    encode, box = model.encode, torch.from_numpy(passes[bad].boxes).float()

    def spoil(batch):
        tiles = list(encode(batch).split(batch.tile_counts))
        return torch.cat(
            [own * torch.nan if torch.equal(found, box) else own for own, found in zip(tiles, batch.boxes, strict=True)]
        )

    monkeypatch.setattr(model, "encode", spoil)
    found = caption_passes(model, passes, settings, lanes=lanes)
    assert [output.broken for output in found] == [index == bad for index in range(4)]
    others = [index for index in range(4) if index != bad]
    check([found[index] for index in others], [sound[index] for index in others])


def test_buffers_go_from_pass_to_pass(monkeypatch):
    made, make = [], stream.KeyBuffers
    longer, lengthen = [], make.lengthen
    monkeypatch.setattr(stream, "KeyBuffers", lambda *fields: made.append(fields) or make(*fields))
    monkeypatch.setattr(make, "lengthen", lambda self, prefix: longer.append(prefix) or lengthen(self, prefix))
    model = tiny(ISOLATED)
    passes = [one_pass(model, 300, 200, 2, seed=seed) for seed in range(6)]
    caption_passes(model, passes, DecodeSettings(steps=2, length=4), lanes=2)
    assert (len(made), len(longer)) == (1, 0)
    caption_passes(model, [one_pass(model, 100, 100, 1), *passes], DecodeSettings(steps=2, length=4), lanes=1)
    assert (len(made), len(longer)) == (2, 1)


def test_passes_come_as_soon_as_they_are_done():
    """And no pass is asked for before there is room for it."""
    model = tiny(ISOLATED)
    settings = DecodeSettings(steps=4, length=4, sampler="topk")
    sampling, order = settings.sampling(model.tokens.banned_in_captions), []
    engine = stream.CaptionStream(model, settings.rule("isolated"), sampling, 4, None, lanes=2)
    pulled = []

    def passes():
        for index in range(3):
            pulled.append(index)
            yield one_pass(model, 300, 200, 1, seed=index)

    for index, output in engine.run(passes()):
        order.append((index, len(pulled), output.together))
    assert order == [(0, 2, 2), (1, 2, 2), (2, 3, 1)]
    assert not engine.lanes and not engine.open and len(engine.pools.tokens) == 0


def test_key_heads_may_be_shared_by_query_heads():
    config = copy.deepcopy(tiny(ISOLATED).config)
    config.text_config.num_key_value_heads = 2
    torch.manual_seed(0)
    model = PerceptionDLM(config).eval()
    model.tokens = tiny(ISOLATED).tokens
    settings = DecodeSettings(steps=4, length=8)
    (found,), (expected,) = (
        caption_passes(model, [one_pass(model, 300, 200, 3)], replace(settings, cache=cache))
        for cache in ("exact", "none")
    )
    check([found], [expected])
