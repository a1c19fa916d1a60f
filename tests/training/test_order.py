"""The order of samples: every region once an epoch, the same however it is come by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.sizes import random_model
from pdlm_cli.training.collate import MicroBatches
from pdlm_cli.training.order import Extent, Stream, mix, plan_epoch, sample_at, uniform
from pdlm_cli.training.samples import Samples
from tests.training.support import job, squares

COUNTS = st.lists(st.integers(0, 20), min_size=1, max_size=40).filter(any)


def extent(regions, *, blocks=None, together=2, most=6, weight=1.0, count=None) -> Extent:
    return Extent(np.array(regions), None if blocks is None else np.array(blocks), together, most, weight, count)


def samples(extents, seed, number):
    epoch = plan_epoch(extents, seed, number)
    return [sample_at(extents, seed, epoch, row) for row in range(len(epoch))]


@settings(max_examples=50)
@given(COUNTS, st.integers(1, 6), st.integers(0, 2**63 - 1), st.integers(0, 5))
def test_groups_cover_every_region_once(counts, most, seed, number):
    seen = sorted(
        (ref.record, region) for ref in samples([extent(counts, most=most)], seed, number) for region in ref.regions
    )
    assert seen == [(record, region) for record, count in enumerate(counts) for region in range(count)]
    sizes = [len(ref.regions) for ref in samples([extent(counts, most=most)], seed, number)]
    assert all(1 <= size <= most for size in sizes)
    assert plan_epoch([extent(counts, most=most)], seed, number).size.tolist() == sizes


def test_every_size_of_group_is_as_likely_and_regions_are_shuffled():
    refs = samples([extent([30] * 400)], seed=1, number=0)
    sizes = np.bincount([len(ref.regions) for ref in refs], minlength=7)[1:] / len(refs)
    assert np.abs(sizes - 1 / 6).max() < 0.04  # the last group of a picture takes what is left
    assert np.corrcoef([ref.regions[0] for ref in refs], [ref.record for ref in refs])[0, 1] < 0.1
    assert {ref.regions for ref in refs} != {tuple(sorted(ref.regions)) for ref in refs}


def test_epochs_and_seeds_differ_and_repeat():
    extents = [extent([3] * 50)]
    assert samples(extents, 0, 0) == samples(extents, 0, 0)
    assert samples(extents, 0, 0) != samples(extents, 0, 1)
    assert samples(extents, 0, 0) != samples(extents, 1, 0)


@pytest.mark.parametrize(("weight", "expected"), [(0.5, 1000), (1.0, 2000), (2.5, 5000)])
def test_weights_say_how_often_a_picture_is_seen(weight, expected):
    refs = samples([extent([1] * 10, most=1), extent([1] * 2000, most=1, weight=weight)], 0, 0)
    drawn = [ref.record for ref in refs if ref.source == 1]
    assert len(drawn) == pytest.approx(expected, rel=0.05)
    repeats = np.bincount(drawn, minlength=2000)
    assert {int(count) for count in repeats} <= {int(np.floor(weight)), int(np.ceil(weight))}
    assert sum(ref.source == 0 for ref in refs) == 10


def test_a_count_takes_the_same_pictures_in_every_epoch():
    extents = [extent([2] * 100, count=7)]
    first, second = ({ref.record for ref in samples(extents, 3, number)} for number in (0, 1))
    assert first == second
    assert len(first) == 7


def test_blocks_stay_within_their_window_and_sources_are_spread():
    blocks = np.repeat(np.arange(10), 20)
    refs = samples([extent([1] * 200, blocks=blocks, together=2, most=1), extent([1] * 200, most=1)], 0, 0)
    of_blocks = [blocks[ref.record] for ref in refs if ref.source == 0]
    for window in range(5):
        assert len(set(of_blocks[40 * window : 40 * window + 40])) == 2
    assert of_blocks[:40] != sorted(of_blocks[:40])
    halves = np.add.reduceat([ref.source == 0 for ref in refs], [0, 200])
    assert abs(int(halves[0]) - int(halves[1])) < 60


def test_any_place_can_be_looked_up_without_those_before_it():
    extents = [extent([3, 1, 9, 0, 2])]
    walked = Stream(extents, seed=5)
    refs = [walked.at(place) for place in range(60)]
    assert Stream(extents, seed=5).at(41) == refs[41]
    epochs = [ref for number in range(20) for ref in samples(extents, 5, number)]
    assert refs == epochs[:60]
    assert walked.length(2) == len(samples(extents, 5, 0)) + len(samples(extents, 5, 1))


def test_no_region_in_any_record_is_an_error():
    with pytest.raises(ValueError, match="found none"):
        Stream([extent([0, 0])], seed=0).at(0)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_out_the_samples_of_each_step_by_size(tmp_path, processes):
    settings = job(squares(tmp_path, 20), tmp_path, batch=8, micro_batch=2)
    model = random_model("tiny")
    samples = Samples(settings.data.sources, settings.data, model.config, model.tokens, seed=0)
    shares = [list(MicroBatches(settings, samples, 3, rank=rank, processes=processes)) for rank in range(processes)]
    per_step = 4 // processes
    for step in range(3):
        places = [p for share in shares for forward in share[step * per_step : (step + 1) * per_step] for p in forward]
        assert sorted(places) == list(range(8 * step, 8 * step + 8))
        together = [forward for share in shares for forward in share[step * per_step : (step + 1) * per_step]]
        sizes = [size for forward in sorted([samples.size(place) for place in f] for f in together) for size in forward]
        assert sizes == sorted(sizes)


def test_no_process_gets_all_the_large_samples(tmp_path):
    """Regions are what pictures of one size cost; of sorted samples in equal shares, one process would get the most."""
    settings = job(squares(tmp_path, 20), tmp_path, batch=16, micro_batch=2)
    model = random_model("tiny")
    samples = Samples(settings.data.sources, settings.data, model.config, model.tokens, seed=0)
    for step in range(4):
        work = []
        for rank in range(2):
            forwards = list(MicroBatches(settings, samples, 4, rank=rank, processes=2))[4 * step : 4 * step + 4]
            work.append(sum(samples.size(place)[2] for forward in forwards for place in forward))
        by_size = sorted(samples.size(place)[2] for place in range(16 * step, 16 * step + 16))
        assert abs(work[0] - work[1]) <= 2 < sum(by_size[8:]) - sum(by_size[:8])


def test_hashes_are_even_and_depend_on_every_part():
    drawn = uniform(mix(7, np.arange(20000)))
    assert abs(drawn.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02
    assert len({int(mix(*parts)) for parts in [(0,), (0, 0), (0, 1), (1, 0), (1,), (2**63,)]}) == 6
