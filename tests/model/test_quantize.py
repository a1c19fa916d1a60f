"""Weights in 8 and 4 bits: how small, how near, and what captions become of them."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import nn

import model
from model.decode import caption_passes
from model.pdlm import PerceptionDLM
from model.preprocess import PreparedPass, prepare_image, prepare_pass
from model.quantize import GROUP, NF4_LEVELS, STORAGES, QuantizedLinear, quantize_decoder
from model.settings import DecodeSettings

TINY = Path(model.__path__[0]) / "tiny"
SCENES = TINY.parents[1] / "examples/scenes"
# Relative error of a weight: half a step of 1/127 and of 1/8; nf4's largest gap lies between its outermost levels.
NEAREST = {"int8": 0.5 / 127, "fp8": 1 / 16, "nf4": (NF4_LEVELS[1] - NF4_LEVELS[0]) / 2 + 2**-8}
AGREEMENT = {"int8": 0.8, "fp8": 0.7, "nf4": 0.5}  # of captions, word for word, with those of fp32


def loaded(kind: str | None) -> PerceptionDLM:
    found = PerceptionDLM.from_pretrained(TINY, dtype=torch.float32)
    if kind is not None:
        quantize_decoder(found.language_model.model, kind, torch.device("cpu"))
    return found


@cache
def passes() -> list[PreparedPass]:
    scenes, config = COCO(SCENES / "masks.json"), loaded(None).config
    prepared = []
    for number, scene in list(scenes.imgs.items())[:5]:
        picture = prepare_image(Image.open(SCENES / scene["file_name"]).convert("RGB"), config)
        masks = [scenes.annToMask(region).astype(bool) for region in scenes.imgToAnns[number]]
        prepared.append(prepare_pass(picture, np.stack(masks), config))
    return prepared


def captions(of: PerceptionDLM) -> list[str]:
    results = caption_passes(of, passes(), DecodeSettings(steps=8, length=24))
    return [caption.text for result in results for caption in result.captions]


@cache
def unquantized() -> list[str]:
    return captions(loaded(None))


@pytest.mark.parametrize("kind", STORAGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_stored_weight_is_small_and_near_the_real_one(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(4 * GROUP, 32)
    linear.weight.data[3] = 0
    storage = STORAGES[kind]
    stored = QuantizedLinear(linear, storage)
    held = stored.weight.nbytes + stored.scale.nbytes
    assert held == pytest.approx(linear.weight.numel() * storage.bits / 8, rel=0.02)
    restored = stored.restored(dtype)
    assert restored.dtype == dtype and not restored[3].any()
    largest = linear.weight.abs().max()
    assert (restored.float() - linear.weight).abs().max() <= largest * (NEAREST[kind] + torch.finfo(dtype).eps)
    x = torch.randn(2, 5, 4 * GROUP, dtype=dtype)
    assert torch.equal(stored(x.float()), nn.functional.linear(x.float(), stored.restored(torch.float32), linear.bias))


@pytest.mark.parametrize("kind", STORAGES)
def test_the_decoder_is_smaller_and_nothing_else_is_touched(kind: str) -> None:
    whole, small = loaded(None), loaded(kind)
    linears = [layer for layer in whole.language_model.model.modules() if isinstance(layer, nn.Linear)]
    replaced = [layer for layer in small.modules() if isinstance(layer, QuantizedLinear)]
    assert len(replaced) == len(linears) == 7 * whole.config.text_config.num_hidden_layers
    assert not any(isinstance(layer, nn.Linear) for layer in small.language_model.model.modules())
    held = sum(layer.weight.nbytes + layer.scale.nbytes for layer in replaced)
    assert held < sum(layer.weight.nbytes for layer in linears) * STORAGES[kind].bits / 32 * 1.03
    rest = dict(small.named_parameters())
    assert {"language_model.lm_head.weight", "language_model.model.embed_tokens.weight"} <= rest.keys()
    assert all(torch.equal(value, whole.get_parameter(name)) for name, value in rest.items())
    assert small.dtype == torch.float32


@pytest.mark.parametrize("kind", STORAGES)
def test_captions_are_those_of_the_whole_weights_or_nearly(kind: str) -> None:
    found = captions(loaded(kind))
    same = sum(a == b for a, b in zip(found, unquantized(), strict=True)) / len(found)
    print(f"{kind}: {same:.0%} of {len(found)} captions word for word")
    assert same >= AGREEMENT[kind]


def test_a_width_that_does_not_go_into_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 64, found 96; use int8 or fp8"):
        quantize_decoder(nn.Sequential(nn.Linear(96, 4)), "nf4", torch.device("cpu"))
