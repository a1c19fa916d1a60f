"""Tiles, boxes and footprints."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model import footprint
from model.geometry import choose_grid, normalised_boxes
from model.preprocess import normalise, prepare_image, prepare_pass
from model.resize import resize
from tests.model.support import ISOLATED, RELEASED, boxes, picture, tiny


def test_tiles_are_cut_row_by_row_and_the_thumbnail_is_last():
    image = picture(300, 200)
    prepared = prepare_image(image, tiny().config)
    assert prepared.grid == (3, 2)
    mosaic = np.asarray(resize(image, (384, 256)))
    expected = [mosaic[y : y + 128, x : x + 128] for y in (0, 128) for x in (0, 128, 256)]
    expected.append(np.asarray(resize(image, (128, 128))))
    assert np.array_equal(prepared.tiles.transpose(0, 2, 3, 1), np.stack(expected))


def test_one_tile_has_no_thumbnail():
    assert prepare_image(picture(100, 100), tiny().config).tiles.shape == (1, 3, 128, 128)


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((100, 100), (1, 1)),
        ((182, 182), (2, 2)),  # more than half of 2 x 2 tiles' pixels
        ((181, 181), (1, 1)),  # less
        ((1000, 10), (6, 1)),
        ((10, 1000), (1, 6)),
        ((300, 200), (3, 2)),
        ((200, 300), (2, 3)),
        ((125, 100), (1, 1)),  # as far from 1 as from 3/2, too small for six tiles
        ((375, 300), (3, 2)),  # the same ratio, large enough
    ],
)
def test_grid_is_the_closest_aspect_ratio_and_ties_go_to_the_larger(size, grid):
    assert choose_grid(*size, 128, 1, 6) == grid


@given(width=st.integers(1, 3000), height=st.integers(1, 3000))
def test_no_grid_is_closer(width, height):
    columns, rows = choose_grid(width, height, 512, 1, 6)
    distances = [abs(width / height - c / r) for c in range(1, 7) for r in range(1, 7) if c * r <= 6]
    assert abs(width / height - columns / rows) == min(distances)


def test_normalised_pixels_are_those_of_the_stock_processor():
    values = torch.arange(256, dtype=torch.uint8)
    stock = ((np.arange(256) * 0.00392156862745098).astype(np.float32) - np.float32(0.5)) / np.float32(0.5)
    assert np.array_equal(normalise(values).numpy(), stock)


def test_boxes_end_at_the_last_pixel_or_at_its_far_edge():
    masks = np.zeros((2, 10, 20), dtype=bool)
    masks[0, 3:5, 4:8] = True
    masks[1, 9, 19] = True
    assert normalised_boxes(masks, inclusive=True).tolist() == [
        [4 / 20, 3 / 10, 7 / 20, 4 / 10],
        [19 / 20, 9 / 10, 19 / 20, 9 / 10],
    ]
    assert normalised_boxes(masks, inclusive=False).tolist() == [[4 / 20, 3 / 10, 8 / 20, 5 / 10], [0.95, 0.9, 1, 1]]


def test_released_footprint_equals_the_whole_mask_picture_sent_through_resize_and_cut():
    masks = boxes(300, 200, 3) & (np.random.default_rng(0).random((3, 200, 300)) < 0.7)
    found = footprint.released(masks, np.array([2, 0, 1]), (3, 2), 128, 16)
    for prompt, mask, own in zip((2, 0, 1), masks, found, strict=True):
        whole = Image.fromarray(np.where(mask, prompt, 255).astype(np.uint8))
        mosaic = np.asarray(resize(whole, (384, 256)))
        tiles = [mosaic[y : y + 128, x : x + 128] for y in (0, 128) for x in (0, 128, 256)]
        tiles.append(np.asarray(resize(whole, (128, 128))))
        assert np.array_equal(own, np.stack([tile[::16, ::16] != 255 for tile in tiles]))


def test_released_footprint_may_miss_a_small_region():
    """A square of four pixels at 640 x 480: half of the places activate no patch at all."""
    masks = np.zeros((64, 480, 640), dtype=bool)
    for i in range(64):
        masks[i, 100 + i // 8 : 104 + i // 8, 200 + i % 8 : 204 + i % 8] = True
    missed = ~footprint.released(masks, np.zeros(64, dtype=np.int64), (3, 2), 512, 16).any(axis=(1, 2, 3))
    assert 0 < missed.sum() < 64
    assert footprint.coverage(masks, (3, 2), 512, 16).any(axis=(1, 2, 3)).all()


@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    place=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    extent=st.tuples(st.integers(1, 80), st.integers(1, 80)),
)
def test_coverage_marks_every_region_in_the_tiles_and_in_the_thumbnail(size, grid, place, extent):
    width, height = size
    x, y = int(place[0] * width), int(place[1] * height)
    mask = np.zeros((1, height, width), dtype=bool)
    mask[0, y : y + extent[1], x : x + extent[0]] = True
    found = footprint.coverage(mask, grid, 128, 16)[0]
    tiles = grid[0] * grid[1]
    assert len(found) == tiles + (tiles > 1)
    assert found[:tiles].any()
    assert found[-1].any()


def test_coverage_is_the_share_of_the_patch_and_follows_thin_regions():
    mask = np.zeros((1, 128, 128), dtype=bool)
    mask[0, :, 8:24] = True  # half of the first two columns of patches
    assert footprint.coverage(mask, (1, 1), 128, 16)[0, 0].sum(axis=0).tolist() == [8, 8, 0, 0, 0, 0, 0, 0]
    mask[0, :, 16:64] = True  # half, then three whole columns
    assert footprint.coverage(mask, (1, 1), 128, 16)[0, 0].sum(axis=0).tolist() == [8, 8, 8, 8, 0, 0, 0, 0]
    mask[0, :, :9] = False
    assert footprint.coverage(mask, (1, 1), 128, 16)[0, 0].sum(axis=0).tolist() == [0, 8, 8, 8, 0, 0, 0, 0]
    pole = np.zeros((1, 128, 128), dtype=bool)
    pole[0, :, 50] = True
    assert footprint.coverage(pole, (1, 1), 128, 16)[0, 0].sum(axis=0).tolist() == [0, 0, 0, 8, 0, 0, 0, 0]


def test_slots_are_by_area_and_everything_follows_them():
    model = tiny(RELEASED)
    image = prepare_image(picture(300, 200), model.config)
    masks = boxes(300, 200, 4)
    shuffled = prepare_pass(image, masks[[2, 0, 3, 1]], model.config, seeds=[12, 10, 13, 11])
    straight = prepare_pass(image, masks, model.config, seeds=[10, 11, 12, 13])
    assert straight.order == (0, 1, 2, 3)
    assert shuffled.order == (1, 3, 0, 2)
    assert shuffled.seeds == straight.seeds == (10, 11, 12, 13)
    assert np.array_equal(shuffled.boxes, straight.boxes)
    assert np.array_equal(shuffled.footprints, straight.footprints)


@pytest.mark.parametrize("rule", ["released", "coverage"])
@pytest.mark.parametrize("others", [ISOLATED, RELEASED], ids=["isolated", "released"])
def test_footprint_rule_is_the_configs(others, rule):
    config = tiny(others.with_(footprint=rule)).config
    image, masks = prepare_image(picture(300, 200), config), boxes(300, 200, 3)
    expected = {
        "released": footprint.released(masks, np.arange(3), (3, 2), 128, 16),
        "coverage": footprint.coverage(masks, (3, 2), 128, 16),
    }
    assert not np.array_equal(expected["released"], expected["coverage"])
    assert np.array_equal(prepare_pass(image, masks, config).footprints, expected[rule])


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.ones((1, 10, 10), dtype=bool), r"expected masks of shape \(200, 300\), .* found \(10, 10\) as mask 0"),
        (np.ones((7, 200, 300), dtype=bool), "a pass holds 1 to 6 regions, found 7"),
        (np.zeros((2, 200, 300), dtype=bool), "mask 0 is empty"),
    ],
)
def test_unusable_masks_are_refused(masks, message):
    image = prepare_image(picture(300, 200), tiny(ISOLATED).config)
    with pytest.raises(ValueError, match=message):
        prepare_pass(image, masks, tiny(ISOLATED).config)
