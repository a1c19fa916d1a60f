import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pdlm_cli.masks import pack
from pdlm_cli.passes import plan_parts, plan_passes
from pdlm_cli.regions import ImageEntry, Region
from tests.cli.support import box_mask

PLANS = settings(max_examples=100, derandomize=True, deadline=None)


@PLANS
@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([None, "What?", "Where?"])), min_size=1, max_size=25),
    st.integers(1, 7),
    st.randoms(use_true_random=False),
)
def test_each_region_is_in_one_pass_whatever_the_order(asked: list, most: int, chance) -> None:
    regions = [(f"key {i}", pack(box_mask(8, 8, 0, 0, width, 1)), prompt) for i, (width, prompt) in enumerate(asked)]

    def plan() -> dict[str, frozenset[str]]:
        keys, masks, prompts = zip(*regions, strict=True)
        passes = plan_passes(keys, masks, prompts, most)
        for prompt in set(prompts):
            sizes = [len(item.members) for item in passes if item.prompt == prompt]
            assert max(sizes) - min(sizes) <= 1
            assert max(sizes) <= most
            assert len(sizes) == -(-prompts.count(prompt) // most)
        assert all(prompts[i] == item.prompt for item in passes for i in item.members)
        assert sorted(i for item in passes for i in item.members) == list(range(len(regions)))
        return {item.pass_id: frozenset(regions[i][0] for i in item.members) for item in passes}

    before = plan()
    chance.shuffle(regions)
    assert plan() == before


def test_seven_regions_at_six_a_pass_are_four_and_three() -> None:
    masks = [pack(box_mask(9, 9, 0, 0, 1 + i, 1)) for i in range(7)]
    assert [len(item.members) for item in plan_passes(list("abcdefg"), masks, [None] * 7, 6)] == [4, 3]


def entry(regions: int) -> ImageEntry:
    return ImageEntry("1", "1.png", 4, 4, tuple(Region(str(i), i, None, False, None) for i in range(regions)))


def test_a_part_is_closed_by_the_image_that_fills_it() -> None:
    parts = [part for part, _ in plan_parts(map(entry, [2, 1, 2, 7, 1, 1]), 3)]
    assert parts == [0, 0, 1, 1, 2, 2]


@PLANS
@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 12))
def test_parts_are_as_small_as_whole_images_allow(sizes: list[int], part_rows: int) -> None:
    rows = np.zeros(len(sizes), int)
    last = np.zeros(len(sizes), int)
    for part, item in plan_parts(map(entry, sizes), part_rows):
        rows[part] += len(item.regions)
        last[part] = len(item.regions)
    assert (rows - last < part_rows).all()
    assert (rows[: max(0, np.count_nonzero(rows) - 1)] >= part_rows).all()
