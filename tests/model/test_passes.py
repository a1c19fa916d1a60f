import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.passes import bind, pass_sizes, region_seed, split_passes


@pytest.mark.parametrize(
    ("regions", "sizes"), [(0, []), (1, [1]), (6, [6]), (7, [4, 3]), (12, [6, 6]), (13, [5, 4, 4])]
)
def test_passes_are_balanced(regions, sizes):
    assert pass_sizes(regions, 6) == sizes


@given(regions=st.integers(0, 200), most=st.integers(1, 9))
def test_fewest_passes_and_no_two_differ_by_more_than_one(regions, most):
    sizes = pass_sizes(regions, most)
    assert sum(sizes) == regions
    assert len(sizes) == -(-regions // most)
    assert not sizes or (max(sizes) <= most and max(sizes) - min(sizes) <= 1)


@given(areas=st.lists(st.integers(1, 5), max_size=20), data=st.data())
def test_the_same_regions_meet_whatever_their_order(areas, data):
    digests = [f"digest {i}" for i in range(len(areas))]
    order = data.draw(st.permutations(range(len(areas))))
    straight = split_passes(areas, digests, 6)
    shuffled = split_passes([areas[i] for i in order], [digests[i] for i in order], 6)
    assert [[order[i] for i in share] for share in shuffled] == straight
    assert sorted(i for share in straight for i in share) == list(range(len(areas)))


def test_no_room_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        pass_sizes(3, 0)


def test_isolated_binding_shares_the_number_and_released_binding_numbers_markers_by_slot():
    assert bind([4, 0, 2], "isolated") == ((4, 0, 2), (4, 0, 2))
    assert bind([4, 0, 2], "released") == ((4, 0, 2), (0, 1, 2))
    assert bind([4, 0, 2], "shared") == ((0, 0, 0), (4, 0, 2))


def test_seeds_depend_on_region_and_seed():
    seeds = {region_seed(seed, key) for seed in range(50) for key in ("a", "b", "0:a")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert region_seed(3, "a") == region_seed(3, "a")
