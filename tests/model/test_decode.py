"""Captions of passes: settings, cutting, independence of order and slot."""

import numpy as np
import pytest
import torch
from PIL import Image

from model import decode
from model.chat import ChatSettings, answer_question
from model.decode import DecodeSettings, caption_passes, cut_caption
from model.pdlm import load_model
from model.preprocess import prepare_image, prepare_pass
from model.sizes import random_model
from tests.model.support import ISOLATED, RELEASED, boxes, one_pass, picture, tiny
from tests.model.test_checkpoint import CHAT


@pytest.mark.parametrize("regions", [ISOLATED, RELEASED], ids=["isolated", "released"])
def test_any_number_of_regions_in_any_order(regions):
    model = tiny(regions)
    image, masks = picture(300, 200), boxes(300, 200, 7)
    captions = model.caption(image, masks, steps=3, length=4)
    assert len(captions) == 7
    order = np.random.default_rng(0).permutation(7)
    shuffled = model.caption(image, masks[order], steps=3, length=4)
    assert [c.tokens for c in shuffled] == [captions[i].tokens for i in order]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (900, 2)])
def test_odd_pictures_and_single_pixels_have_captions(mode, size):
    masks = np.zeros((2, size[1], size[0]), dtype=bool)
    masks[:, 0, 0] = True
    assert len(tiny(ISOLATED).caption(Image.new(mode, size), masks, steps=2, length=2)) == 2


def test_no_masks_have_no_captions():
    assert tiny(ISOLATED).caption(picture(30, 20), []) == []


def test_captions_come_back_in_the_order_of_the_masks():
    model = tiny(ISOLATED)
    image, masks = prepare_image(picture(300, 200), model.config), boxes(300, 200, 3)
    settings = DecodeSettings(steps=2, length=4)
    (straight,) = caption_passes(model, [prepare_pass(image, masks, model.config)], settings)
    (turned,) = caption_passes(model, [prepare_pass(image, masks[::-1], model.config)], settings)
    assert turned.captions == straight.captions[::-1]
    assert (straight.slots, turned.slots) == ([0, 1, 2], [2, 1, 0])


def test_isolated_budget_is_per_caption_and_released_one_is_shared():
    """One step left of two: half of each caption's slots is masked, or half of all, wherever they are."""
    for regions, per_caption in ((ISOLATED, True), (RELEASED, False)):
        model = tiny(regions)
        masked = masked_after_first_step(model)
        assert (masked == [4, 4, 4]) == per_caption
        assert sum(masked) == 12


def masked_after_first_step(model) -> list[int]:
    """Masked slots of each of three captions, as the second of two steps finds them."""
    canvases = []

    def spy(logits_fn, canvas, *rest):
        def watched(current):
            canvases.append(current)
            return logits_fn(current)

        return original(watched, canvas, *rest)

    original, decode.denoise_remask = decode.denoise_remask, spy
    try:
        caption_passes(model, [one_pass(model, 300, 200, 3)], DecodeSettings(steps=2, length=8))
    finally:
        decode.denoise_remask = original
    return (canvases[1].view(3, 8) == model.tokens.mask).sum(dim=1).tolist()


@pytest.mark.parametrize("sampler", ["remask", "topk", "threshold"])
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


def test_seed_decides_what_is_sampled():
    model = tiny(ISOLATED)
    image, masks = picture(300, 200), boxes(300, 200, 2)
    draw = lambda **settings: model.caption(image, masks, steps=4, length=8, **settings)  # noqa: E731
    assert draw(temperature=1.0, seed=1) == draw(temperature=1.0, seed=1)
    assert draw(temperature=1.0, seed=1) != draw(temperature=1.0, seed=2)
    assert draw(temperature=1.0, top_k=1, seed=1) == draw(temperature=1.0, top_k=1, seed=2)
    assert [c.tokens for c in draw(temperature=1.0, top_k=1)] == [c.tokens for c in draw()]


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
        ({"top_p": 0}, "must lie in"),
        ({"temperature": -1}, "must not be negative"),
    ],
)
def test_unusable_settings_say_what_is_allowed(settings, message):
    with pytest.raises(ValueError, match=message):
        DecodeSettings(**settings)


def test_exact_cache_needs_isolated_attention():
    model = tiny(RELEASED)
    with pytest.raises(ValueError, match="use cache frozen or refresh=K"):
        model.caption(picture(300, 200), boxes(300, 200, 1), cache="exact")


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="as the picture is"):
        tiny(ISOLATED).caption(picture(300, 200), boxes(200, 200, 1))


def test_sampled_answers_follow_the_seed():
    model = load_model(CHAT, dtype=torch.float32, device=torch.device("cpu"))
    image = prepare_image(picture(300, 200), model.config)
    ask = lambda seed: answer_question(  # noqa: E731
        model, image, "What?", ChatSettings(length=8, block=4, steps=8, temperature=1.0, seed=seed)
    )
    assert ask(1) == ask(1)
    assert ask(1) != ask(2)


def test_random_models_depend_on_their_seed_alone():
    first, second, other = (random_model("tiny", seed=seed) for seed in (0, 0, 1))
    state = first.state_dict()
    assert all(torch.equal(state[name], value) for name, value in second.state_dict().items())
    assert any(not torch.equal(state[name], value) for name, value in other.state_dict().items())
    with pytest.raises(ValueError, match="size must be one of tiny"):
        random_model("huge")
