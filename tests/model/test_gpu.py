"""On a CUDA device: `make test PYTEST_ARGS="-m gpu"`."""

from collections.abc import Iterator

import pytest
import torch

from model.compiled import compile_decoder
from model.decode import caption_passes
from model.memory import pass_bytes
from model.pdlm import PerceptionDLM
from model.quantize import STORAGES
from model.settings import SAMPLERS, DecodeSettings
from model.sizes import random_model
from pdlm_cli.bench.nvml import open_gauge, uuid_of
from pdlm_cli.device import device_errors, free_memory, pick_device, place
from pdlm_cli.devices.fleet import open_workers
from pdlm_cli.engine import load_engine
from pdlm_cli.errors import OutOfDeviceMemory
from tests.model.support import ISOLATED, RELEASED, boxes, one_pass, picture, stream_on_the_way, tiny, two_passes
from tests.model.test_quantize import loaded, passes

pytestmark = pytest.mark.gpu
CUDA = "cuda"


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    torch._dynamo.reset()
    free_memory()


def on_gpu(model: PerceptionDLM, quantize: str | None = None, *, compiled: bool = False) -> PerceptionDLM:
    place(model, pick_device(CUDA), quantize, compiled=compiled)
    return model


def tokens(model: PerceptionDLM, **settings: object) -> list[list[int]]:
    """Of the example scenes, two passes on the device at a time."""
    outputs = caption_passes(model, passes(), DecodeSettings(steps=8, length=24, **settings), lanes=2)  # type: ignore[arg-type]
    return [caption.tokens for output in outputs for caption in output.captions]


def agreement(found: list[list[int]], expected: list[list[int]]) -> float:
    """Share of captions that are the same."""
    assert len(found) == len(expected) > 0
    return sum(own == other for own, other in zip(found, expected, strict=True)) / len(found)


@pytest.mark.parametrize("cache", ["exact", "none"])
def test_fp32_captions_are_those_of_the_cpu(cache: str) -> None:
    model, image, masks = random_model("tiny"), picture(300, 200), boxes(300, 200, 7)
    expected = [c.tokens for c in model.caption(image, masks, steps=8, length=8, cache=cache)]
    found = on_gpu(model).caption(image, masks, steps=8, length=8, cache=cache)
    assert [c.tokens for c in found] == expected


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_fp32_captions_of_the_checkpoint_that_ships_are_those_of_the_cpu(sampler: str) -> None:
    expected = tokens(loaded(None), sampler=sampler)
    assert agreement(tokens(on_gpu(loaded(None)), sampler=sampler), expected) >= 0.9


@pytest.mark.parametrize("cache", ["none", "refresh=2", "frozen"])
def test_released_semantics_are_those_of_the_cpu(cache: str) -> None:
    model = tiny(RELEASED)
    prepared, settings = [one_pass(model, 300, 200, 3)], DecodeSettings(steps=4, length=8, cache=cache)
    [expected] = caption_passes(model, prepared, settings)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    [found] = caption_passes(
        on_gpu(PerceptionDLM.from_weights(weights, model.config, model.tokens)), prepared, settings
    )
    assert [c.tokens for c in found.captions] == [c.tokens for c in expected.captions]


@pytest.mark.parametrize("kind", STORAGES)
def test_weights_stored_small_give_the_captions_of_the_cpu(kind: str) -> None:
    assert agreement(tokens(on_gpu(loaded(None), kind)), tokens(loaded(kind))) >= 0.9


@pytest.mark.parametrize("kind", [None, "nf4"])
def test_compiled_parts_give_the_same_captions(kind: str | None) -> None:
    plain = tokens(on_gpu(loaded(None), kind))
    assert agreement(tokens(on_gpu(loaded(None), kind, compiled=True)), plain) >= 0.9


@pytest.mark.parametrize("kind", [None, *STORAGES])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_step_does_not_wait_for_the_device(kind: str | None, sampler: str) -> None:
    model = on_gpu(loaded(None), kind)
    settings = DecodeSettings(steps=8, length=8, sampler=sampler)
    with torch.inference_mode():
        stream = stream_on_the_way(model, settings, two_passes(model))
        stream._step()  # which makes what cuBLAS works in
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(3):
                stream._step()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_writes_captions_of_the_right_length(dtype: torch.dtype) -> None:
    model = random_model("100m", dtype=dtype, device=CUDA)
    captions = model.caption(picture(1024, 768), boxes(1024, 768, 6), steps=8, length=8, sampler="topk")
    assert [c.denoise_steps for c in captions] == [8] * 6


@pytest.mark.parametrize("count", [1, 4])
def test_a_batch_takes_no_more_memory_than_is_planned(count: int) -> None:
    model = random_model("100m", dtype=torch.bfloat16, device=CUDA, regions=ISOLATED)
    settings = DecodeSettings(steps=2, length=32)
    prepared = [one_pass(model, 1536, 1024, 6)] * count
    caption_passes(model, [one_pass(model, 100, 100, 1)], settings)  # which makes what cuBLAS works in
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    caption_passes(model, prepared, settings)
    assert torch.cuda.max_memory_allocated() - held <= count * pass_bytes(model.config, settings, 2)


def test_memory_that_runs_out_is_told_apart() -> None:
    with pytest.raises(OutOfDeviceMemory, match="out of memory"), device_errors():
        torch.empty(1 << 50, dtype=torch.uint8, device=CUDA)
    free_memory()
    assert torch.ones(2, device=CUDA).sum() == 2


def test_passes_of_a_call_are_planned_from_free_memory() -> None:
    engine = load_engine(None, CUDA, "auto", DecodeSettings())
    assert engine.facts["dtype"] == "bf16"
    assert engine.lanes == 16  # of the small checkpoint many more would fit
    assert engine.batch_size == 64


def test_a_worker_process_captions_on_the_device() -> None:
    with open_workers(None, ["0"], "bf16", {"steps": 8, "length": 24}, None) as fleet:
        results = fleet.caption(passes())
        assert agreement([c.tokens for own in results for c in own.captions], tokens(loaded(None))) >= 0.5  # type: ignore[union-attr]
        assert fleet.incidents == {"worker_restarts": 0}


def test_the_driver_tells_of_the_device_that_torch_uses() -> None:
    gauge = open_gauge(uuid_of(pick_device(CUDA)))
    assert gauge is not None
    before = gauge.read()
    kept = torch.ones(2**30, dtype=torch.uint8, device=CUDA)
    torch.cuda.synchronize()
    after = gauge.read()
    assert before.memory_bytes is not None and after.memory_bytes is not None
    assert after.memory_bytes - before.memory_bytes >= len(kept) // 2


def test_compiling_takes_any_number_of_rows() -> None:
    model = random_model("tiny", device=CUDA)
    assert compile_decoder(model.language_model.model) > 0
    with torch.inference_mode():
        for rows in (1, 64, 213, 2000):
            model.language_model.model(inputs_embeds=torch.zeros(1, rows, 64, device=CUDA), use_cache=False)
