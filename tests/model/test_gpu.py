"""On a CUDA device: `make test PYTEST_ARGS="-m gpu"`."""

import pytest
import torch

from model.sizes import random_model
from tests.model.support import boxes, picture

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("cache", ["exact", "none"])
def test_fp32_captions_are_those_of_the_cpu(cache):
    model, image, masks = random_model("tiny"), picture(300, 200), boxes(300, 200, 7)
    expected = [c.tokens for c in model.caption(image, masks, steps=8, length=8, cache=cache)]
    found = model.to("cuda").caption(image, masks, steps=8, length=8, cache=cache)
    assert [c.tokens for c in found] == expected


def test_bf16_writes_captions_of_the_right_length():
    model = random_model("100m", dtype=torch.bfloat16, device="cuda")
    captions = model.caption(picture(1024, 768), boxes(1024, 768, 6), steps=8, length=8)
    assert [c.denoise_steps for c in captions] == [8] * 6
