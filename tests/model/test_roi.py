"""RoI replay against RoI align written out in plain Python."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.batch import collate_passes
from model.diffusion import add_noise, weighted_entropy
from model.layout import plan_pass
from model.preprocess import prepare_image, prepare_pass
from model.roi import mosaic, replay
from tests.model.support import ISOLATED, RELEASED, boxes, picture, tiny


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
