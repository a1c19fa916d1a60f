"""RoI replay against RoI align written out in plain Python."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.batch import collate_passes
from model.decode import caption_passes, plan_batch
from model.diffusion import add_noise, weighted_entropy
from model.layout import Kind, plan_pass
from model.preprocess import prepare_image, prepare_pass
from model.roi import SLIVER, mosaic, replay, replay_masked
from model.settings import DecodeSettings
from tests.model.support import ISOLATED, RELEASED, boxes, one_pass, picture, tiny


def plain_roi_align(features: list, box: list[float], scale: float, size: int) -> list:
    """features[y][x], box xyxy in cells before `scale`. One number a bin: aligned, two samples a bin and axis."""
    height, width = len(features), len(features[0])
    x0, y0, x1, y1 = (value * scale - 0.5 for value in box)
    bin_w, bin_h = (x1 - x0) / size, (y1 - y0) / size

    def at(y: float, x: float) -> float:
        if y < -1 or y > height or x < -1 or x > width:
            return 0.0
        y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
        top, left = math.floor(y), math.floor(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        dy, dx = y - top, x - left
        upper = features[top][left] * (1 - dx) + features[top][right] * dx
        lower = features[bottom][left] * (1 - dx) + features[bottom][right] * dx
        return upper * (1 - dy) + lower * dy

    rows = []
    for row in range(size):
        for column in range(size):
            samples = [
                at(y0 + (row + (i + 0.5) / 2) * bin_h, x0 + (column + (j + 0.5) / 2) * bin_w)
                for i in range(2)
                for j in range(2)
            ]
            rows.append(sum(samples) / 4)
    return rows


@given(
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    corners=st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4
    ),
    rule=st.sampled_from([("aligned", 32), ("released", 32), ("released", 28)]),
    size=st.sampled_from([1, 4, 7]),
)
def test_replay_equals_plain_roi_align(grid, corners, rule, size):
    name, cell = rule
    columns, rows = grid
    count = columns * rows + (columns * rows > 1)
    tiles = torch.randn(count, 9, 2, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in corners])
    (found,) = replay([tiles], [grid], [boxes], rule=name, size=size, cell=cell)
    features = mosaic(tiles, grid, name)
    width, height = features.shape[2], features.shape[1]
    scale = 1.0 if name == "aligned" else 1.0 / cell
    for box, own in zip(boxes.tolist(), found, strict=True):
        cells = [box[0] * width, box[1] * height, box[2] * width, box[3] * height]
        for channel in range(2):
            expected = plain_roi_align(features[channel].tolist(), cells, scale, size)
            torch.testing.assert_close(own[:, channel], torch.tensor(expected), rtol=0, atol=2e-5)


def test_pictures_of_a_batch_do_not_touch():
    generator = torch.Generator().manual_seed(0)
    tiles = [torch.randn(7, 9, 4, generator=generator), torch.randn(1, 9, 4, generator=generator)]
    boxes = [torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.2, 0.1, 1.0, 1.0]])]
    together = replay(tiles, [(3, 2), (1, 1)], boxes, rule="aligned", size=4)
    for i, grid in enumerate([(3, 2), (1, 1)]):
        (alone,) = replay([tiles[i]], [grid], [boxes[i]], rule="aligned", size=4)
        torch.testing.assert_close(together[i], alone, rtol=0, atol=1e-5)


def test_aligned_features_are_those_of_the_box_and_released_ones_of_a_corner():
    """Every tile's cells hold its number, the thumbnail's -1; the box is the tile in the middle of the second row."""
    tiles = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, -1.0])[:, None, None].expand(7, 4, 1)
    box = torch.tensor([[1 / 3, 1 / 2, 2 / 3, 1.0]])
    (aligned,) = replay([tiles], [(3, 2)], [box], rule="aligned", size=1)
    assert aligned.item() == pytest.approx(4.0)
    (released,) = replay([tiles], [(3, 2)], [box], rule="released", size=1)
    assert released.item() == pytest.approx(1.0)


@pytest.mark.parametrize("rule", ["released", "aligned"])
@pytest.mark.parametrize("others", [ISOLATED, RELEASED], ids=["isolated", "released"])
def test_rule_is_the_configs_and_training_takes_its_own_cell(others, rule):
    """Six tiles in a row: the doubly scaled box reaches past the first cell."""
    model = tiny(others.with_(roi_features=rule))
    image = prepare_image(picture(600, 100), model.config)
    assert image.grid == (6, 1)
    prepared = prepare_pass(image, boxes(600, 100, 2), model.config)
    captions = [model.tokens.encode_caption("a", 2)] * 2
    layout = plan_pass(model.tokens, model.config, tiles=7, captions=captions)
    batch = collate_passes([prepared], [layout], model.config)
    noise = add_noise(batch.input_ids, torch.ones(1), batch.labelled, model.tokens.mask)
    noisy = replace(batch, input_ids=noise.tokens)
    with torch.no_grad():
        tiles = model.encode(batch)
        found = {cell: model.embed(noisy, cell)[0, layout.roi] for cell in (28, 32)}
        for cell, rois in found.items():
            (expected,) = replay([tiles], [(6, 1)], batch.boxes, rule=rule, size=4, cell=cell)
            torch.testing.assert_close(rois, expected)
        assert torch.equal(found[28], found[32]) == (rule == "aligned")
        logits = model.logits(model.run(model.embed(noisy, 28), noisy), batch.slots)
        weights = noise.weights(batch.labelled)
        if others.positions == "isolated":  # otherwise markers and newlines are labels too
            entropy = weighted_entropy(logits[0].flatten(0, 1), torch.tensor(captions).flatten(), weights[weights > 0])
            assert model(batch, noise).item() == pytest.approx(entropy.item(), rel=1e-5)
        at_32 = model.language_model.lm_head(model.run(model.embed(noisy, 32), noisy))
        counted = weights > 0
        other = weighted_entropy(at_32[counted], batch.input_ids[counted], weights[counted])
        same = model(batch, noise).item() == pytest.approx(other.item(), rel=1e-6)
        assert same == (rule == "aligned")


def plain_masked_rois(features: list, shares: list, box: list[float], size: int) -> list:
    """features[y][x], shares[y][x] of the region in each cell, box xyxy in cells. One number a bin."""
    x0, y0, x1, y1 = box

    def bins(low: float, high: float) -> list:
        return [(low + i / size * (high - low), low + (i + 1) / size * (high - low)) for i in range(size)]

    rows = []
    for top, bottom in bins(y0, y1):
        for left, right in bins(x0, x1):
            total = weight = 0.0
            for y, row in enumerate(features):
                for x, value in enumerate(row):
                    down = max(0.0, min(bottom, y + 1) - max(top, y))
                    across = max(0.0, min(right, x + 1) - max(left, x))
                    total += down * across * shares[y][x] * value
                    weight += down * across * shares[y][x]
            area = (bottom - top) * (right - left)
            rows.append(total / max(weight, SLIVER * area))
    return rows


@given(
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    corners=st.lists(
        st.tuples(st.integers(0, 24), st.integers(0, 24), st.integers(0, 24), st.integers(0, 24)),
        min_size=1,
        max_size=4,
    ),
    filled=st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    size=st.sampled_from([1, 4, 7]),
)
def test_masked_replay_is_the_mean_of_the_regions_own_tokens_in_each_bin(grid, corners, filled, size):
    """Tiles of 3 x 3 tokens, each of 2 x 2 patches."""
    columns, rows = grid
    count = columns * rows + (columns * rows > 1)
    generator = torch.Generator().manual_seed(0)
    tiles = torch.randn(count, 9, 2, generator=generator)
    boxes = torch.tensor([[min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1] for a, b, c, d in corners]) / 25
    masks = torch.rand(len(boxes), count, 36, generator=generator) < filled
    (found,) = replay_masked([tiles], [grid], [boxes], [masks], size)
    features = mosaic(tiles, grid, "aligned")
    height, width = features.shape[1:]
    patches = mosaic(masks.permute(1, 2, 0).float(), grid, "aligned")
    for box, own, inside in zip(boxes.tolist(), found, patches.tolist(), strict=True):
        cells = [box[0] * width, box[1] * height, box[2] * width, box[3] * height]
        shares = [
            [sum(inside[2 * y + i][2 * x + j] for i in (0, 1) for j in (0, 1)) / 4 for x in range(width)]
            for y in range(height)
        ]
        for channel in range(2):
            expected = plain_masked_rois(features[channel].tolist(), shares, cells, size)
            torch.testing.assert_close(own[:, channel], torch.tensor(expected), rtol=0, atol=1e-2)


def test_masked_rois_of_two_objects_in_one_box_are_each_objects_own():
    """A left and a right half of one tile that a mask of either spans from corner to corner."""
    tiles = torch.tensor([[1.0, 2.0], [1.0, 2.0]]).reshape(1, 4, 1)
    left = torch.zeros(4, 4, dtype=torch.bool)
    left[:, :2] = True
    masks = torch.stack([left, ~left]).reshape(2, 1, 16)
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
    (masked,) = replay_masked([tiles], [(1, 1)], [box], [masks], 1)
    assert masked.flatten().tolist() == [1.0, 2.0]
    (aligned,) = replay([tiles], [(1, 1)], [box], rule="aligned", size=1)
    assert aligned.flatten().tolist() == [1.5, 1.5]


@pytest.mark.parametrize("shape", [(300, 200), (600, 100), (100, 100)])
def test_a_masked_model_sees_of_a_region_what_replay_gives_and_captions_alike_in_every_batch(shape):
    model = tiny(ISOLATED.with_(roi_features="masked"))
    passes = [one_pass(model, *shape, 3), one_pass(model, 120, 128, 5, seed=1)]
    settings = DecodeSettings(length=6, steps=6)
    batch = plan_batch(model, passes, settings)
    with torch.no_grad():
        tiles = model.encode(batch)
        expected = torch.cat(replay_masked(tiles.split(batch.tile_counts), batch.grids, batch.boxes, batch.masks, 4))
        rois = model.embed(batch)[batch.kind == Kind.ROI]
        torch.testing.assert_close(rois, expected.flatten(0, 1))
        assert (expected.abs().amax(dim=2) > 0).any(dim=1).all()  # no region is without any token of its own
    together = caption_passes(model, passes, settings)
    for own, prepared in zip(together, passes, strict=True):
        (alone,) = caption_passes(model, [prepared], settings)
        assert [one.text for one in own.captions] == [one.text for one in alone.captions]


def test_masked_features_need_a_footprint():
    with pytest.raises(ValueError, match="masked needs a footprint"):
        ISOLATED.with_(roi_features="masked", footprint="none")
