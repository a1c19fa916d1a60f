"""The memory that a pass is said to take, before what torch allocates for one."""

import copy
import weakref
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model import key_buffers
from model.decode import caption_passes
from model.memory import KEPT_FREE, MOST_PASSES, pass_bytes, passes_that_fit
from model.pdlm import PerceptionDLM
from model.preprocess import count_tiles
from model.quantize import STORAGES, QuantizedLinear, quantize_decoder
from model.settings import DecodeSettings
from model.sizes import random_model
from tests import memory_plan
from tests.model.support import ISOLATED, RELEASED, one_pass, tiny


class Peak(TorchDispatchMode):
    """Most bytes of tensors that were alive together, of those that operations made."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.alive: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, (tuple, list)) else [output]:
            if isinstance(tensor, torch.Tensor):
                self.count(tensor.untyped_storage())
        return output

    def count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.alive:
            return
        self.alive.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.free, key, size)

    def free(self, key: int, size: int) -> None:
        self.alive.discard(key)
        self.now -= size


@pytest.mark.parametrize(
    ("regions", "settings"),
    [
        (ISOLATED, {}),
        (ISOLATED, {"cache": "none"}),
        (ISOLATED, {"cache": "delayed"}),
        (ISOLATED, {"cfg_scale": 1.0}),
        (RELEASED, {"cache": "frozen"}),
        (RELEASED, {"length": 64}),
    ],
)
def test_a_pass_takes_no_more_than_it_is_said_to_and_not_much_less(regions, settings):
    model = tiny(regions)
    settings = DecodeSettings(**{"steps": 2, "length": 16, **settings})
    # The largest grid there is, as many regions as there may be.
    prepared = one_pass(model, 600, 400, 6)
    assert count_tiles(600, 400, model.config) == model.config.max_tiles + 1
    with Peak() as peak:
        caption_passes(model, [prepared] * 3, settings)
    estimate = 3 * pass_bytes(model.config, settings, model.dtype.itemsize)
    assert 0.5 * estimate < peak.most <= estimate


@pytest.mark.parametrize("cache", ["exact", "delayed"])
def test_longer_pictures_that_come_later_take_no_more_than_is_said(cache, monkeypatch):
    """Keys and values, which are most of what this decoder takes, have no second copy when they need more places."""
    monkeypatch.setattr(key_buffers, "GRAIN", 1)
    config = copy.deepcopy(tiny(ISOLATED).config)
    config.text_config.num_hidden_layers, config.text_config.head_dim = 16, 128
    model = PerceptionDLM(config).eval()
    model.tokens = tiny(ISOLATED).tokens
    passes = [one_pass(model, *size, 6) for size in ((400, 400), (400, 400), (600, 400), (600, 400))]
    settings = DecodeSettings(steps=2, length=16, cache=cache)
    with Peak() as peak:
        caption_passes(model, passes, settings, lanes=2)
    assert peak.most <= 2 * pass_bytes(config, settings, model.dtype.itemsize)


def test_a_batch_fills_the_memory_that_is_free():
    config, settings = tiny(ISOLATED).config, DecodeSettings()
    one = pass_bytes(config, settings, 2)
    assert passes_that_fit(0, config, settings, 2) == 1
    assert passes_that_fit(round(5.5 * one / (1 - KEPT_FREE)), config, settings, 2) == 5
    assert passes_that_fit(10**15, config, settings, 2) == MOST_PASSES


@pytest.mark.parametrize("kind", [None, *STORAGES])
def test_weights_take_what_they_are_said_to(kind):
    model = random_model("tiny", vocabulary=1000)
    if kind is not None:
        quantize_decoder(model.language_model.model, kind, torch.device("cpu"))
    held = sum(parameter.nbytes for parameter in model.parameters())
    held += sum(layer.weight.nbytes + layer.scale.nbytes for layer in stored(model))
    assert memory_plan.weight_bytes(model.config, 4, kind) == pytest.approx(held, rel=0.01)
    assert memory_plan.restored_bytes(model.config, 4) == 64 * 192 * 6


def stored(model):
    return [layer for layer in model.modules() if isinstance(layer, QuantizedLinear)]


def test_the_large_model_fits_cards_of_24_and_of_12_gb_as_the_documents_say():
    assert memory_plan.room(24, "int8") > 1
    assert memory_plan.room(12, "nf4") >= 1
    assert memory_plan.room(12, None) == 0
    documents = Path(memory_plan.__file__).parents[1] / "docs/devices.md"
    assert memory_plan.table() in documents.read_text()
