"""Pixels of the resize and of masks, against Pillow resizing whole pictures."""

import numpy as np
import PIL
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from model.resize import mask_pictures_at, resize
from tests.model.support import picture

SIDES = st.integers(1, 700)
TILES = st.sampled_from([(128, 16), (96, 8), (224, 14)])


@given(width=SIDES, height=SIDES, new=st.tuples(st.integers(1, 400), st.integers(1, 400)))
@example(width=90, height=260, new=(128, 128))  # height shrinks, width grows
@example(width=60, height=100, new=(50, 80))  # both shrink, height by twice what width does
@example(width=60, height=101, new=(50, 80))  # and by more
def test_pictures_are_resized_as_pillow_13_does(width, height, new):
    image = picture(width, height)
    ours = np.asarray(resize(image, new))
    if int(PIL.__version__.split(".")[0]) >= 13:
        assert np.array_equal(ours, np.asarray(image.resize(new, Image.Resampling.BICUBIC)))
    # Whatever the version: one axis, then the other.
    across = image.resize((new[0], height), Image.Resampling.BICUBIC).resize(new, Image.Resampling.BICUBIC)
    down = image.resize((width, new[1]), Image.Resampling.BICUBIC).resize(new, Image.Resampling.BICUBIC)
    down_first = new[1] < height and height - new[1] > 2 * (width - new[0])
    assert np.array_equal(ours, np.asarray(down if down_first else across))


@given(
    width=SIDES,
    height=SIDES,
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    tile=TILES,
    density=st.sampled_from([0.001, 0.1, 0.5, 0.999]),
    seed=st.integers(0, 99),
)
def test_sampled_mask_pictures_equal_whole_resized_ones(width, height, grid, tile, density, seed):
    side, patch = tile
    size = (grid[0] * side, grid[1] * side)
    masks = np.random.default_rng(seed).random((3, height, width)) < density
    prompts = np.array([0, 5, 14])
    sampled = mask_pictures_at(masks, prompts, size, patch)
    for mask, prompt, found in zip(masks, prompts, sampled, strict=True):
        whole = resize(Image.fromarray(np.where(mask, prompt, 255).astype(np.uint8)), size)
        assert np.array_equal(found, np.asarray(whole)[::patch, ::patch])
