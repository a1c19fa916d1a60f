"""A denoising step never waits for the device: what would make the host wait there, looked for on the CPU."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model import caption_rows
from model.packed import attend_apart, attend_together
from model.quantize import STORAGES, quantize_decoder
from model.rules import POLL, Denoised, denoise
from model.settings import SAMPLERS, DecodeSettings, Rule, Sampling
from tests.model.support import one_pass, stream_on_the_way, tiny, two_passes
from tests.model.test_quantize import loaded

# Numbers taken from a tensor, shapes that depend on what is in one, and tensors made of numbers of the host.
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "equal.default", "lift_fresh")


class Operations(TorchDispatchMode):
    """How often each was called; indexing by bools, whose result has no known shape, as nonzero."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function)
        if name.startswith("aten.index") and any(_is_bool(item) for item in args[1:2]):
            name = "aten.nonzero by bool"
        self.seen[name] += 1
        return function(*args, **(kwargs or {}))

    @property
    def waits(self) -> dict[str, int]:
        return {name: count for name, count in self.seen.items() if any(word in name for word in WAITS)}


def _is_bool(index: Any) -> bool:
    items = index if isinstance(index, (list, tuple)) else [index]
    return any(isinstance(item, torch.Tensor) and item.dtype == torch.bool for item in items)


def steps_of(sampler: str, kind: str | None) -> Operations:
    """A few steps of two passes on the way, with the checkpoint that ships."""
    model = loaded(None)
    if kind is not None:
        quantize_decoder(model.language_model.model, kind, torch.device("cpu"))
    settings = DecodeSettings(steps=8, length=8, sampler=sampler, stable=2)
    with torch.inference_mode():
        stream = stream_on_the_way(model, settings, two_passes(model))
        with Operations() as operations:
            for _ in range(3):
                stream._step()
    assert sum(operations.seen.values()) > 100
    return operations


@pytest.mark.parametrize("attend", [attend_apart, attend_together])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_step_waits_for_nothing_whatever_the_sampler(
    sampler: str, attend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(caption_rows.ATTEND, "cpu", attend)
    assert steps_of(sampler, None).waits == {}


def test_a_step_of_many_lanes_calls_no_more_operations_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they attend together: on a GPU a call costs more than what it does."""
    monkeypatch.setitem(caption_rows.ATTEND, "cpu", attend_together)
    model, counts = tiny(), []
    for lanes in (1, 4):
        with torch.inference_mode():
            passes = [one_pass(model, 300, 200, 2, seed=seed) for seed in range(lanes)]
            own = stream_on_the_way(model, DecodeSettings(steps=4, length=4), passes)
            with Operations() as operations:
                own._step()
        counts.append(sum(operations.seen.values()))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("kind", STORAGES)
def test_a_step_waits_for_nothing_however_weights_are_stored(kind: str) -> None:
    assert steps_of("factor", kind).waits == {}


@pytest.mark.parametrize("stable", [0, 9])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_loop_without_a_cache_looks_seldom_where_the_schedule_is_even(
    sampler: str, stable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.randn(3, 6, 20, generator=torch.Generator().manual_seed(0))
    rule = Rule(sampler, steps=10, threshold=0.3, entropy=2.0, stable=stable)

    def written(poll: int) -> tuple[Denoised, int]:
        monkeypatch.setitem(POLL, "cpu", poll)
        with Operations() as operations:
            found = denoise(lambda canvas: logits, torch.full((3, 6), 20), 20, rule, Sampling())
        return found, sum(operations.waits.values())

    (each, looks), (seldom, fewer) = written(1), written(4)
    for field in ("tokens", "confidence", "steps", "broken"):
        assert torch.equal(getattr(each, field), getattr(seldom, field))
    assert looks == each.forwards + 1 and each.forwards == each.steps.max() < 10
    if sampler in ("remask", "topk") and not stable:
        assert (seldom.forwards, fewer) == ({"remask": 10, "topk": 8}[sampler], 3)
    else:
        assert (seldom.forwards, fewer) == (each.forwards, looks)


def test_what_waits_is_found() -> None:
    values = torch.arange(3.0)
    with Operations() as operations:
        values[values > 1], values.max().item(), torch.tensor([1.0])
    assert set(operations.waits) == {
        "aten.nonzero by bool",
        "aten._local_scalar_dense.default",
        "aten.lift_fresh.default",
    }
