"""Masks from a grid of points: models of random weights, and rules held against slow ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pdlm_cli.errors import ConfigError
from pdlm_cli.inputs import GRID
from pdlm_cli.segmenter import Candidates, Frame, Segmenter, boxes_of, distinct, read_frame
from tests.cli.tiny_sam import SIDE, write_sam, write_sam2, write_sam3

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8))
SMALL = {**GRID, "points": 6, "overlap": 0.9, "area": 0.0}


@pytest.fixture(scope="module", params=[write_sam3, write_sam2, write_sam], ids=["sam3", "sam2", "sam"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return request.param(tmp_path_factory.mktemp("sam"))


def test_masks_have_the_size_of_the_picture_and_are_the_same_again(checkpoint: Path) -> None:
    segmenter = Segmenter(str(checkpoint), "cpu", SMALL)
    masks = segmenter.masks(PICTURE)
    assert masks
    assert all(mask.shape == (50, 90) and mask.dtype == bool and mask.any() for mask in masks)
    again = Segmenter(str(checkpoint), "cpu", SMALL).masks(PICTURE)
    assert len(again) == len(masks) and all(np.array_equal(a, b) for a, b in zip(masks, again, strict=True))


def test_what_is_not_good_enough_is_left_out(checkpoint: Path) -> None:
    assert Segmenter(str(checkpoint), "cpu", SMALL | {"score": 1.0}).masks(PICTURE) == []
    areas = [mask.mean() for mask in Segmenter(str(checkpoint), "cpu", SMALL).masks(PICTURE)]
    middle = float(np.median(areas))
    large = Segmenter(str(checkpoint), "cpu", SMALL | {"area": middle}).masks(PICTURE)
    assert [mask.mean() for mask in large] == [area for area in areas if area >= middle]


def test_a_padded_picture_keeps_its_shape() -> None:
    frame = Frame((SIDE, SIDE), True, (0.5,) * 3, (0.5,) * 3)
    assert frame.used((90, 50)) == (128, 71)
    assert frame.used((1, 5000)) == (1, 128)
    pixels = frame.pixels(Image.new("RGB", (90, 50), "white"))
    assert pixels.shape == (1, 3, SIDE, SIDE)
    assert (pixels[..., :71, :] == 1).all() and (pixels[..., 71:, :] == 0).all()
    assert (Frame((8, 4), False, (0.5,) * 3, (0.5,) * 3).pixels(Image.new("RGB", (90, 50))) == -1).all()


def test_boxes_are_those_of_the_pixels() -> None:
    masks = torch.from_numpy(np.random.default_rng(1).random((50, 7, 9)) > 0.95)
    masks = masks[masks.any(2).any(1)]
    for mask, box in zip(masks, boxes_of(masks).tolist(), strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_of_overlapping_candidates_the_likeliest_stays() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 10]])
    found = Candidates(torch.arange(4.0)[:, None, None], torch.tensor([0.5, 0.9, 0.1, 0.5]), boxes)
    assert distinct(found, 0.7).logits.flatten().tolist() == [1, 2]
    assert distinct(found, 0.9).logits.flatten().tolist() == [1, 0, 2]  # of equals, the first
    assert distinct(found, 1.0).scores.tolist() == pytest.approx([0.9, 0.5, 0.5, 0.1])
    assert distinct(found[torch.zeros(4, dtype=torch.bool)], 0.7).scores.tolist() == []


def test_what_is_no_segmenter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match="no checkpoint of SAM"):
        Segmenter(str(tmp_path), "cpu", SMALL)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"height": 8, "width": 8}}')
    with pytest.raises(ValueError, match="image_mean"):
        read_frame(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"size": {"height": 8, "width": 8}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}'
    )
    with pytest.raises(ConfigError, match="no checkpoint of SAM"):
        Segmenter(str(tmp_path), "cpu", SMALL)
