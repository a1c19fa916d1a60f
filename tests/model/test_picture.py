"""Captions of any number of regions of a picture, whatever it is, in whatever order."""

import numpy as np
import pytest
from PIL import Image

from model.tokens import REGION_INSTRUCTION
from tests.model.support import ISOLATED, RELEASED, boxes, picture, tiny


@pytest.mark.parametrize("regions", [ISOLATED, RELEASED], ids=["isolated", "released"])
def test_any_number_of_regions_in_any_order(regions):
    model = tiny(regions)
    image, masks = picture(300, 200), boxes(300, 200, 7)
    captions = model.caption(image, masks, steps=3, length=4)
    assert len(captions) == 7
    order = np.random.default_rng(0).permutation(7)
    shuffled = model.caption(image, masks[order], steps=3, length=4)
    assert [c.tokens for c in shuffled] == [captions[i].tokens for i in order]
    assert len({tuple(c.tokens) for c in captions}) > 3  # or the order could not be told
    sampled = model.caption(image, masks, steps=3, length=4, temperature=1.0)
    resampled = model.caption(image, masks[order], steps=3, length=4, temperature=1.0)
    assert [c.tokens for c in resampled] == [sampled[i].tokens for i in order]
    single = model.caption(image, masks, steps=3, length=4, batch_size=1)
    assert [c.tokens for c in single] == [c.tokens for c in captions]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (900, 2)])
def test_odd_pictures_and_single_pixels_have_captions(mode, size):
    masks = np.zeros((2, size[1], size[0]), dtype=bool)
    masks[:, 0, 0] = True
    assert len(tiny(ISOLATED).caption(Image.new(mode, size), masks, steps=2, length=2)) == 2


def test_no_masks_have_no_captions():
    assert tiny(ISOLATED).caption(picture(30, 20), []) == []


def test_prompt_of_the_user_reaches_the_model():
    model = tiny(ISOLATED)
    image, masks = picture(300, 200), boxes(300, 200, 2)
    usual = model.caption(image, masks, steps=2, length=4)
    assert model.caption(image, masks, steps=2, length=4, prompt=REGION_INSTRUCTION) == usual
    assert model.caption(image, masks, steps=2, length=4, prompt="Say what it is made of.") != usual


@pytest.mark.parametrize("sampler", ["remask", "topk"])
def test_every_step_can_be_watched_without_a_difference(sampler):
    """Seven regions in two passes of one batch: masks at first, then less of them, the captions in the end."""
    model = tiny(ISOLATED)
    image, masks = picture(300, 200), boxes(300, 200, 7)
    seen = []
    settings = {"steps": 4, "length": 8, "sampler": sampler}
    captions = model.caption(image, masks, watch=seen.append, **settings)
    assert captions == model.caption(image, masks, **settings)
    assert len(seen) == 1 + 4
    assert all(sorted(state) == list(range(7)) for state in seen)
    left = [sum(ids.count(model.tokens.mask) for ids in state.values()) for state in seen]
    assert left == [7 * 8, 7 * 6, 7 * 4, 7 * 2, 0]
    for index, caption in enumerate(captions):
        assert seen[-1][index][: len(caption.tokens)] == caption.tokens


@pytest.mark.parametrize("regions", [ISOLATED, RELEASED], ids=["isolated", "released"])
def test_passes_that_are_not_on_the_device_can_be_watched_too(regions):
    """Seven regions in two passes, one after the other: what waits is blank, what is done stays as it is."""
    model = tiny(regions)
    seen = []
    captions = model.caption(
        picture(300, 200), boxes(300, 200, 7), watch=seen.append, steps=2, length=4, sampler="topk", batch_size=1
    )
    assert all(sorted(state) == list(range(7)) for state in seen)
    left = [sum(ids.count(model.tokens.mask) for ids in state.values()) for state in seen]
    assert left == [7 * 4, 4 * 2 + 3 * 4, 3 * 4, 3 * 4, 3 * 2, 0]
    for index, caption in enumerate(captions):
        assert seen[-1][index][: len(caption.tokens)] == caption.tokens


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="as the picture is"):
        tiny(ISOLATED).caption(picture(300, 200), boxes(200, 200, 1))
