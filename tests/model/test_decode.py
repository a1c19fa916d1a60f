"""Captions of passes: settings, samplers, caches, cutting."""

import math

import pytest
import torch

from model import decode
from model.decode import caption_passes, cut_caption, denoise_batch, plan_batch
from model.preprocess import prepare_image, prepare_pass
from model.settings import SAMPLERS, DecodeSettings
from model.sizes import random_model
from tests.model.support import ISOLATED, RELEASED, boxes, one_pass, picture, tiny


def test_captions_come_back_in_the_order_of_the_masks():
    model = tiny(ISOLATED)
    image, masks = prepare_image(picture(300, 200), model.config), boxes(300, 200, 3)
    settings = DecodeSettings(steps=2, length=4)
    (straight,) = caption_passes(model, [prepare_pass(image, masks, model.config)], settings)
    (turned,) = caption_passes(model, [prepare_pass(image, masks[::-1], model.config)], settings)
    assert turned.captions == straight.captions[::-1]
    assert len({tuple(c.tokens) for c in straight.captions}) == 3
    assert (straight.slots, turned.slots) == ([0, 1, 2], [2, 1, 0])


@pytest.mark.parametrize(
    ("regions", "per_caption"),
    [
        (ISOLATED, True),
        (RELEASED, False),
        (ISOLATED.with_(budget="released"), False),
        (RELEASED.with_(budget="isolated"), True),
    ],
)
def test_budget_is_per_caption_or_shared(regions, per_caption):
    """One step left of two: half of each caption's slots is masked, or half of all, wherever they are."""
    masked = masked_after_first_step(tiny(regions))
    assert (masked == [4, 4, 4]) == per_caption
    assert sum(masked) == 12


def masked_after_first_step(model) -> list[int]:
    """Masked slots of each of three captions, as the second of two steps finds them."""
    states = []
    caption_passes(
        model, [one_pass(model, 300, 200, 3)], DecodeSettings(steps=2, length=8, sampler="remask"), states.append
    )
    return [ids.count(model.tokens.mask) for ids in states[1][0]]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("cache", ["auto", "none", "frozen", "refresh=2"])
def test_every_sampler_with_every_cache(sampler, cache):
    model = tiny(ISOLATED)
    settings = DecodeSettings(steps=4, length=8, sampler=sampler, cache=cache, cfg_scale=0.5)
    (output,) = caption_passes(model, [one_pass(model, 300, 200, 2)], settings)
    for caption in output.captions:
        assert model.tokens.mask not in caption.tokens
        assert not set(caption.tokens) & set(model.tokens.banned_in_captions.tolist())
        assert 1 <= caption.denoise_steps <= 4
        assert 0 < caption.mean_confidence <= 1


def steps_taken(model, **settings) -> list[int]:
    settings = DecodeSettings(steps=4, length=8, **settings)
    (output,) = caption_passes(model, [one_pass(model, 300, 200, 2)], settings)
    return [caption.denoise_steps for caption in output.captions]


def test_threshold_is_the_samplers_own():
    model = tiny(ISOLATED)
    assert steps_taken(model, sampler="threshold", threshold=1e-9) == [1, 1]
    assert steps_taken(model, sampler="threshold", threshold=1.0) == [4, 4]
    assert steps_taken(model, sampler="topk", threshold=1e-9) == [4, 4]
    assert steps_taken(model, sampler="remask", threshold=1e-9) == [4, 4]


def test_the_usual_sampler_is_the_checkpoints():
    """Factor where captions have budgets of their own, the published rule elsewhere."""
    for regions, usual in ((ISOLATED, "factor"), (RELEASED, "remask")):
        tokens = []
        for sampler in ("auto", usual):
            settings = DecodeSettings(steps=4, length=8, factor=1.9, sampler=sampler)
            (output,) = caption_passes(tiny(regions), [one_pass(tiny(regions), 300, 200, 2)], settings)
            tokens.append([(c.tokens, c.denoise_steps) for c in output.captions])
        assert tokens[0] == tokens[1]


def test_guidance_follows_the_formula_on_two_forwards():
    """One step of one caption: the argmax of (1 + s) conditional - s unconditional logits."""
    model = tiny(ISOLATED)
    prepared = one_pass(model, 300, 200, 1)
    settings = DecodeSettings(steps=1, length=8, cfg_scale=3.0)
    batch = plan_batch(model, [prepared], settings)
    with torch.no_grad():
        embeds = model.embed(batch)
        blind = embeds.clone()
        blind[:, : batch.prefix] = model.language_model.model.embed_tokens.weight[model.tokens.mask]
        given, without = (model.logits(model.run(x, batch), batch.slots)[0, 0] for x in (embeds, blind))
        result = denoise_batch(model, batch, embeds, [prepared], settings)
    scores = 4.0 * given - 3.0 * without
    scores[:, model.tokens.banned_in_captions] = float("-inf")
    assert result.tokens[0].tolist() == scores.argmax(dim=1).tolist()
    given[:, model.tokens.banned_in_captions] = float("-inf")
    assert result.tokens[0].tolist() != given.argmax(dim=1).tolist()


@pytest.mark.parametrize("sampler", ["remask", "topk"])
def test_special_tokens_are_banned_where_the_budget_is_isolated(sampler):
    """A head that says nothing but <img>, then nothing but the mask."""
    for regions, says, allowed in (
        (ISOLATED, "image_start", False),
        (RELEASED, "image_start", True),
        (RELEASED, "mask", sampler == "remask"),
    ):
        model = random_model("tiny", regions=regions)
        token = getattr(model.tokens, says)
        batch = plan_batch(model, [one_pass(model, 300, 200, 2)], DecodeSettings(length=4))
        with torch.no_grad():
            hidden = model.run(model.embed(batch), batch)[0, batch.slots.flatten()].mean(dim=0)
            model.language_model.lm_head.weight.zero_()
            model.language_model.lm_head.weight[token] = hidden
        settings = DecodeSettings(steps=2, length=4, sampler=sampler)
        (output,) = caption_passes(model, [one_pass(model, 300, 200, 2)], settings)
        assert (token in output.captions[0].tokens) == allowed


def test_every_caption_is_sampled_with_the_seed_of_its_region():
    model = tiny(ISOLATED)
    passes = [one_pass(model, 300, 200, 3), one_pass(model, 300, 200, 2)]
    assert [p.seeds for p in passes] == [(0, 1, 2), (0, 1)]
    generators = decode._generators(passes, 3)
    assert [generator.initial_seed() for generator in generators] == [0, 1, 2, 0, 1, 0]


def rows_run(cache: str, steps: int = 4) -> list[int]:
    """How many rows of the sequence each forward of the decoder computed."""
    model = tiny(ISOLATED)
    settings = DecodeSettings(steps=steps, length=4, sampler="remask", cache=cache)
    prepared = one_pass(model, 300, 200, 2)
    counts = []
    hook = model.language_model.model.layers[0].register_forward_pre_hook(
        lambda module, args: counts.append(args[0].shape[1])
    )
    try:
        caption_passes(model, [prepared], settings)
    finally:
        hook.remove()
    return counts


def test_each_cache_computes_what_it_says():
    batch = plan_batch(tiny(ISOLATED), [one_pass(tiny(ISOLATED), 300, 200, 2)], DecodeSettings(length=4))
    prefix, everything = batch.prefix, batch.input_ids.shape[1]
    answer = everything - prefix
    assert answer == 2 * (1 + 4)
    assert rows_run("none") == [everything] * 4
    rois = 2 * 4 * 4
    assert rows_run("exact") == rows_run("auto") == [prefix - rois, rois, *[answer] * 4]
    assert rows_run("frozen") == [everything, *[answer] * 3]
    assert rows_run("refresh=2") == [everything, answer] * 2


def test_seed_decides_what_is_sampled():
    model = tiny(ISOLATED)
    image, masks = picture(300, 200), boxes(300, 200, 2)
    draw = lambda **settings: model.caption(image, masks, steps=4, length=8, **settings)  # noqa: E731
    assert draw(temperature=1.0, seed=1) == draw(temperature=1.0, seed=1)
    assert draw(temperature=1.0, seed=1) != draw(temperature=1.0, seed=2)
    assert draw(temperature=1.0, top_k=1, seed=1) == draw(temperature=1.0, top_k=1, seed=2)
    greedy = [c.tokens for c in draw()]
    assert [c.tokens for c in draw(temperature=1.0, top_k=1)] == greedy
    assert [c.tokens for c in draw(temperature=1.0, top_p=1e-6)] == greedy


def test_captions_are_cut_at_their_own_end():
    tokens = tiny(ISOLATED).tokens
    ids = [*tokens.encode("hello"), tokens.end_of_turn, *tokens.encode("more")]
    caption = cut_caption(tokens, ids, [0.5] * 5 + [1.0] + [0.0] * 4, 3)
    assert (caption.text, caption.finish_reason, caption.tokens_generated) == ("hello", "eos", 5)
    assert caption.mean_confidence == pytest.approx((5 * 0.5 + 1.0) / 6)
    whole = cut_caption(tokens, tokens.encode(" hello "), [1.0] * 7, 3)
    assert (whole.text, whole.finish_reason, whole.tokens_generated) == ("hello", "length", 7)
    empty = cut_caption(tokens, [tokens.end_of_text, 5], [0.25, 0.5], 3)
    assert (empty.text, empty.finish_reason, empty.mean_confidence) == ("", "eos", 0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"length": -1}, "length must be at least 1"),
        ({"sampler": "magic"}, "remask, topk, threshold"),
        ({"cache": "refresh=0"}, "or refresh=K"),
        ({"top_p": 0}, r"top_p in \(0, 1\]"),
        ({"temperature": -1}, "temperature >= 0"),
        ({"threshold": 0}, "threshold in"),
        ({"cfg_scale": -1}, "cfg_scale >= 0"),
        ({"cfg_scale": math.nan}, "cfg_scale >= 0"),
        ({"temperature": math.nan}, "temperature >= 0"),
        ({"factor": math.nan}, "factor above 0"),
        ({"entropy": math.nan}, "entropy >= 0"),
    ],
)
def test_unusable_settings_say_what_is_allowed(settings, message):
    with pytest.raises(ValueError, match=message):
        DecodeSettings(**settings)


@pytest.mark.fault("device error, NaN logits, hung pass")
@pytest.mark.parametrize("regions", [ISOLATED, RELEASED], ids=["isolated", "released"])
def test_nan_breaks_its_own_pass_alone(regions):
    """In pixels of one picture, so that it comes through tower, connector and decoder."""
    model = tiny(regions)
    settings = DecodeSettings(steps=3, length=4)
    passes = [one_pass(model, 300, 200, 3), one_pass(model, 90, 200, 2, seed=1), one_pass(model, 300, 200, 4, seed=2)]
    sound = caption_passes(model, passes, settings)
    assert [output.broken for output in sound] == [False] * 3
    tiles = len(passes[0].image.tiles)

    def spoil(module, args):
        pixels = args[0].clone()
        pixels[tiles] = float("nan")
        return (pixels, *args[1:])

    hook = model.vision_model.register_forward_pre_hook(spoil)
    try:
        found = caption_passes(model, passes, settings)
        with pytest.raises(FloatingPointError, match="NaN"):
            model.caption(picture(300, 200), boxes(300, 200, 14), steps=2, length=2)
    finally:
        hook.remove()
    assert [output.broken for output in found] == [False, True, False]
    assert [found[i].captions for i in (0, 2)] == [sound[i].captions for i in (0, 2)]
    assert {output.together for output in found} == {3}


def test_exact_cache_needs_isolated_attention():
    model = tiny(RELEASED)
    with pytest.raises(ValueError, match="use cache frozen or refresh=K"):
        model.caption(picture(300, 200), boxes(300, 200, 1), cache="exact")
