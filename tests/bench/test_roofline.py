"""Work counted from the config against what torch counts, and against counting by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.decode import caption_passes, plan_batch
from model.quantize import STORAGES
from model.settings import DecodeSettings
from pdlm_cli.bench.machine import Rates
from pdlm_cli.bench.roofline import Counts, Lengths, Phase, cached_pass, least_seconds, recomputed_pass, total
from tests.model.support import one_pass, tiny
from tests.model.test_stream import rows_of_steps

MATRICES = ("mm", "addmm", "bmm", "convolution")


def counted(work) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        work()
    found = counter.get_flop_counts()["Global"].items()
    return sum(value for name, value in found if str(name).removeprefix("aten.") in MATRICES)


def test_a_decoder_is_counted_by_hand() -> None:
    # tiny: width 64, MLP 192, 2 blocks; 10 rows that look at 30 keys
    phase = Counts(tiny().config, 4).decoder(10, 30)
    matrices = 2 * (4 * 64 * 64 + 3 * 64 * 192)
    assert phase.flop == 2 * matrices * 10 + 2 * (2 * 2 * 10 * 30 * 64)
    assert phase.moved == 4 * (matrices + 2 * 30 * 64 * 2)


def test_a_prefill_is_counted_by_hand() -> None:
    # the first block whole; of the second, keys and values of 10 rows
    phase = Counts(tiny().config, 4).prefill(10, 10)
    matrices = 4 * 64 * 64 + 3 * 64 * 192
    assert phase.flop == 2 * matrices * 10 + 2 * 2 * 10 * 10 * 64 + 2 * 2 * 64 * 64 * 10
    assert phase.moved == 4 * (matrices + 2 * 64 * 64 + 2 * 10 * 64 * 2)


def test_quantized_weights_are_fewer_bytes_and_the_same_operations() -> None:
    plain, small = (Counts(tiny().config, 4, quantize).decoder(10, 30) for quantize in (None, "int8"))
    assert plain.flop == small.flop
    assert plain.moved - small.moved == (4 - STORAGES["int8"].bits / 8) * 2 * (4 * 64 * 64 + 3 * 64 * 192)


def test_a_head_is_counted_by_hand() -> None:
    vocabulary = tiny().config.text_config.vocab_size
    phase = Counts(tiny().config, 4).head(12, times=3)
    assert phase.flop == 2 * 12 * 64 * vocabulary
    assert phase.moved == 4 * 64 * vocabulary + 2 * 4 * 12 * vocabulary


def test_parts_are_what_torch_counts() -> None:
    model = tiny()
    prepared = one_pass(model, 300, 200, 3)
    batch = plan_batch(model, [prepared], DecodeSettings(length=4))
    counts, tiles = Counts(model.config, 4), len(prepared.image.tiles)
    model.set_attn_implementation("eager")  # whose products are all counted
    try:
        with torch.inference_mode():
            embeds = model.embed(batch)
        length = embeds.shape[1]
        encode = counted(lambda: model.encode(batch))
        run = counted(lambda: model.run(embeds, batch))
        head = counted(lambda: model.language_model.lm_head(embeds))
    finally:
        model.set_attn_implementation("sdpa")
    assert counts.decoder(length, length).flop == pytest.approx(run, rel=0.01)
    assert counts.head(length).flop == head
    assert counts.vision(tiles).flop == pytest.approx(encode, rel=0.03)  # region prompts are not counted


def test_slots_that_are_written_are_not_counted_again_unless_they_are_predicted_again() -> None:
    model = tiny()
    prepared = one_pass(model, 300, 200, 4)
    counts, own = Counts(model.config, 4), Lengths(tiles=1, prefix=200, answer=4 * 9, slots=4 * 8)

    def run(sampler: str) -> float:
        settings = DecodeSettings(sampler=sampler, steps=8, length=8)
        return counted(lambda: caption_passes(model, [prepared], settings))

    more = total(cached_pass(counts, own, 8, again=True))[0] - total(cached_pass(counts, own, 8))[0]
    assert more == run("remask") - run("topk") > 0


def test_rows_that_are_kept_are_not_counted_again() -> None:
    model = tiny()
    prepared = one_pass(model, 300, 200, 4)
    counts, own = Counts(model.config, 4), Lengths(tiles=1, prefix=200, answer=4 * 9, slots=4 * 8)

    def rows(cache: str) -> int:
        forwarded, _ = rows_of_steps(
            model, [prepared], DecodeSettings(sampler="topk", steps=8, length=8, cache=cache), 1
        )
        return sum(forwarded[2:])  # after context and RoIs

    def per_row(delayed: bool) -> float:
        steps = cached_pass(counts, own, 8, delayed=delayed)[2]
        return steps.flop

    assert per_row(True) / per_row(False) == pytest.approx(rows("delayed") / rows("exact"), abs=0.02)


def test_the_cache_saves_what_it_says() -> None:
    counts, own = Counts(tiny().config, 4), Lengths(tiles=3, prefix=300, answer=30, slots=24)
    kept, anew = cached_pass(counts, own, 8), recomputed_pass(counts, own, 8, everywhere=False)
    assert total(kept)[0] < total(anew)[0] / 3
    everywhere = recomputed_pass(counts, own, 8, everywhere=True)
    assert total(everywhere)[0] - total(anew)[0] == 8 * 2 * (330 - 24) * counts.parameters["head"]


def test_the_least_time_is_that_of_the_slower_of_both() -> None:
    rates = Rates(flop_per_second=10, bytes_per_second=2)
    assert least_seconds([Phase("a", 20, 2), Phase("b", 10, 8, times=3)], rates) == 2 + 3 * 4
