"""Scenes: a pure function of their number, within their bounds, and their masks are what can be seen."""

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdlm_cli.data_engine.attributes import COLORS
from pdlm_cli.data_engine.kinds import KINDS, MAX_PARTS
from pdlm_cli.data_engine.levels import LEVELS
from pdlm_cli.data_engine.limits import LARGEST_SEED, SPLITS
from pdlm_cli.data_engine.looks import choose_look, choose_variant
from pdlm_cli.data_engine.parts import visible_parts
from pdlm_cli.data_engine.scene import Scene, draw_scene
from tests.data_engine.support import FULL, everything, scenes


def digest(scene: Scene) -> str:
    content = [scene.picture.tobytes(), scene.masks.tobytes(), repr(scene.captions), repr(scene.questions)]
    content += [repr(item.attributes) for item in scene.objects]
    return hashlib.sha256(b"|".join(c if isinstance(c, bytes) else c.encode() for c in content)).hexdigest()


def test_masks_are_disjoint_and_within_the_bounds_of_size() -> None:
    for scene in everything():
        masks = scene.masks
        assert masks.shape[1:] == scene.picture.shape[:2]
        assert masks.sum(axis=0).max() == 1
        shares = masks.mean(axis=(1, 2))
        assert (shares >= 0.02).all()
        assert (shares <= 0.40).all()


def test_visible_parts_are_where_their_objects_are_and_have_their_words() -> None:
    for scene in everything():
        parts = iter(visible_parts(scene))
        for item in scene.objects:
            for part in item.attributes.parts:
                words, pixels = next(parts)
                assert pixels.any() and not (pixels & ~item.mask).any()
                said = (item.kind.name, part.name, part.material, part.shape, *part.colors)
                assert {word for word in said if word} | ({part.pattern} - {"plain"}) == set(words.split())
        assert next(parts, None) is None


def test_parts_of_plain_things_show_their_color() -> None:
    """The median pixel of a part in one color is nearer to that color than to most others."""
    ranks = []
    for scene in scenes(2):
        for words, pixels in visible_parts(scene):
            median = np.median(scene.picture[pixels], axis=0)
            near = sorted(COLORS, key=lambda name: float(np.abs(median - COLORS[name]).sum()))
            ranks.append(near.index(words.split()[-1]))
    assert np.mean(np.array(ranks) == 0) > 0.9


def test_boxes_are_the_smallest_around_the_masks() -> None:
    for scene in scenes():
        for item in scene.objects:
            left, top, right, bottom = item.box
            inside = item.mask[top:bottom, left:right]
            assert inside.sum() == item.mask.sum()
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_levels_hold_what_they_say() -> None:
    for number, level in enumerate(LEVELS):
        for scene in scenes(number):
            fewest, most = level.objects
            assert fewest <= len(scene.objects) <= most
            parts = [part for item in scene.objects for part in item.attributes.parts]
            assert {item.kind for item in scene.objects} <= set(level.kinds)
            assert level.patterns or all(part.pattern == "plain" for part in parts)
            assert level.materials or all(part.material is None for part in parts)
    shapes = {scene.picture.shape[:2] for scene in scenes()}
    assert {(128, 128), (128, 256), (256, 128)} <= shapes


def test_full_scenes_have_twins_and_hidden_parts() -> None:
    twins = [scene for scene in scenes() if len({item.kind.name for item in scene.objects}) < len(scene.objects)]
    assert len(twins) > len(scenes()) / 4
    assert any(item.hidden for scene in scenes() for item in scene.objects)


def test_objects_of_a_scene_differ_in_what_can_be_said_of_them() -> None:
    for scene in everything():
        said = [(item.attributes.kind, frozenset(item.attributes.parts)) for item in scene.objects]
        assert len(set(said)) == len(said)
        assert len(set(scene.captions)) == len(said)


@settings(max_examples=15)
@given(st.integers(0, LARGEST_SEED), st.integers(0, 2**40), st.integers(0, FULL), st.sampled_from(SPLITS))
def test_the_same_number_is_the_same_scene(seed: int, index: int, level: int, split: str) -> None:
    assert digest(draw_scene(seed, index, level, split=split)) == digest(draw_scene(seed, index, level, split=split))


def test_other_splits_seeds_and_indices_are_other_scenes() -> None:
    drawn = [draw_scene(s, i, split=split) for split in SPLITS for s, i in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    assert len({digest(scene) for scene in drawn}) == len(drawn)


def test_another_process_draws_the_same_scene() -> None:
    """Python's hashes differ from process to process; nothing may follow their order."""
    script = (
        "from tests.data_engine.test_scene import digest, draw_scene\n"
        "print(*(digest(draw_scene(3, index)) for index in range(3)))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    ).stdout.split()
    assert found == [digest(draw_scene(3, index)) for index in range(3)]


@pytest.mark.parametrize("objects", [(1, 1), (2, 6), (10, 10)])
def test_as_many_objects_as_asked_for(objects: tuple[int, int]) -> None:
    for index in range(5):
        scene = draw_scene(0, index, objects=objects)
        assert objects[0] <= len(scene.objects) <= objects[1]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": -1}, "seed"),
        ({"index": -1}, "index"),
        ({"level": len(LEVELS)}, "level"),
        ({"size": 8}, "size"),
        ({"split": "dev"}, "split"),
        ({"objects": (0, 3)}, "objects"),
        ({"objects": (4, 3)}, "objects"),
        ({"objects": (1, 11)}, "objects"),
    ],
)
def test_values_out_of_range_are_refused(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        draw_scene(**({"seed": 0, "index": 0} | changed))


def test_what_is_said_to_be_plain_red_is_red() -> None:
    """Of every plainly colored main part, the middle brightness of its pixels is nearest to the color it is called."""
    from pdlm_cli.data_engine.attributes import COLORS

    right = total = 0
    for scene in scenes(0, 120):
        [item] = scene.objects
        inside = np.median(scene.picture[item.mask].astype(int), axis=0)
        nearest = min(COLORS, key=lambda name: float(np.abs(inside - COLORS[name]).sum()))
        right += nearest == item.attributes.parts[0].colors[0]
        total += 1
    assert right == total


def test_every_kind_can_be_drawn_in_every_variant() -> None:
    rng = np.random.default_rng(0)
    for kind in KINDS.values():
        named: set[str] = set()
        for _ in range(30):
            look = choose_look(rng, LEVELS[FULL], kind, choose_variant(rng, kind), 2000.0, [])
            assert len(look.parts) <= MAX_PARTS
            assert look.parts[0].name == kind.main.name
            named |= {part.name for part in look.parts}
        assert named == {part.name for part in kind.parts}
