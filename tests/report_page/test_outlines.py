"""Masks as paths: drawn again, they cover what the mask covers."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw

from pdlm_cli.report_page.outlines import GRID, TOLERANCE, box, grid_of, simplify, trace
from tests.cli.support import box_mask


def polygons(path: str) -> list[list[tuple[int, int]]]:
    """The corners of each closed line of a path that trace writes: M, then l with relative steps, or h and v."""
    found = []
    for start, steps in re.findall(r"M(-?\d+ ?-?\d+)([^M]*)z", path):
        x, y = map(int, re.findall(r"-?\d+", start))
        corners = [(x, y)]
        if steps.startswith("h"):
            assert steps == "h1v1h-1"
            steps = "l1 0 0 1 -1 0"
        numbers = list(map(int, re.findall(r"-?\d+", steps)))
        for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
            x, y = x + dx, y + dy
            corners.append((x, y))
        found.append(corners)
    return found


def filled(path: str, width: int, height: int) -> np.ndarray:
    """(height, width) bool of a path, under the rule evenodd."""
    whole = Image.new("1", (width, height))
    for corners in polygons(path):
        one = Image.new("1", (width, height))
        ImageDraw.Draw(one).polygon(corners, fill=1)
        whole = ImageChops.logical_xor(whole, one)
    return np.asarray(whole)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def wavy(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    angle = np.arctan2(y - height / 2, x - width / 2)
    return np.hypot(y - height / 2, x - width / 2) < height * (0.3 + 0.1 * np.sin(5 * angle))


@pytest.mark.parametrize("scale", [1, 4])
def test_a_path_covers_its_mask(scale: int) -> None:
    width, height = 250 * scale, 200 * scale
    ring = wavy(width, height)
    ring[height // 2 - 20 * scale : height // 2 + 20 * scale, width // 2 - 20 * scale : width // 2 + 20 * scale] = False
    ring[: 10 * scale, : 10 * scale] = True  # a second piece, at the rim of the picture
    drawn = filled(trace(ring).path, *grid_of(width, height))
    expected = np.asarray(Image.fromarray(ring).resize(grid_of(width, height), Image.Resampling.NEAREST))
    assert overlap(drawn, expected) > 0.97
    assert len(trace(ring).path) < 1500


@given(st.integers(1, 60), st.integers(1, 60), st.randoms(use_true_random=False))
def test_any_mask_has_a_path_within_its_picture(width: int, height: int, random: object) -> None:
    mask = np.random.default_rng(random.randint(0, 999)).random((height, width)) < 0.3
    mask[height // 2, width // 2] = True
    outline = trace(mask)
    right, bottom = grid_of(width, height)
    corners = [corner for line in polygons(outline.path) for corner in line]
    assert corners
    assert all(-1 <= x <= right + 1 and -1 <= y <= bottom + 1 for x, y in corners)
    assert 0 <= outline.pin[0] <= right and 0 <= outline.pin[1] <= bottom


def test_what_is_thinner_than_a_pixel_is_still_there() -> None:
    thread = np.zeros((3000, 4000), bool)
    thread[np.arange(3000), np.arange(3000)] = True
    assert polygons(trace(thread).path)
    speck = np.zeros((3000, 4000), bool)
    speck[17, 23] = True
    assert polygons(trace(speck).path)


def test_a_pin_stands_on_the_top_of_its_region() -> None:
    assert trace(box_mask(100, 50, 20, 10, 30, 20)).pin == (350, 100)


def test_boxes_are_in_the_same_units() -> None:
    (corners,) = polygons(box((10, 5, 50, 40), (100, 50)).path)
    assert corners == [(100, 50), (600, 50), (600, 450), (100, 450)]
    assert grid_of(100, 50) == (GRID, GRID // 2)


def test_simplified_lines_stray_no_farther_than_they_may() -> None:
    angle = np.linspace(0, 2 * np.pi, 721)
    circle = np.stack([300 * np.cos(angle), 300 * np.sin(angle)], axis=1)
    kept = simplify(circle)
    assert len(kept) < 70
    middles = (kept[:-1] + kept[1:]) / 2
    assert 300 - np.hypot(*middles.T).min() <= TOLERANCE + 0.1
