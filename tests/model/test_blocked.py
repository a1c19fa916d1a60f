"""Linear layers whose weights lie as oneDNN reads them: the same model, and only its products in another order."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from model.blocked import BlockedLinear, block_linears, can_block
from model.decode import caption_passes
from model.settings import DecodeSettings
from pdlm_cli.device import place
from tests import product_cost
from tests.model.support import one_pass, tiny

blocks = pytest.mark.skipif(not can_block(torch.float32), reason="oneDNN is used on x86 alone")


@blocks
@given(
    rows=st.lists(st.integers(0, 5), max_size=3),
    width=st.integers(1, 70),
    outputs=st.integers(1, 70),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32] + [torch.bfloat16] * can_block(torch.bfloat16)),
)
def test_products_are_those_of_the_layer(rows, width, outputs, bias, dtype):
    linear = nn.Linear(width, outputs, bias=bias).to(dtype)
    x = torch.randn(*rows, width).to(dtype)
    with torch.inference_mode():
        torch.testing.assert_close(BlockedLinear(linear)(x), linear(x))


@blocks
def test_a_placed_model_writes_the_same_captions():
    plain, placed = tiny(), copy.deepcopy(tiny())
    assert place(placed, torch.device("cpu"), None, compiled=False) is None
    linears = [name for name, own in placed.named_modules() if type(own) is nn.Linear]
    assert not linears
    assert sum(isinstance(own, BlockedLinear) for own in placed.modules()) > 10
    assert sum(own.numel() for own in placed.parameters()) == sum(own.numel() for own in plain.parameters())
    passes = [one_pass(plain, 300, 200, 6), one_pass(plain, 128, 128, 2, seed=1)]
    settings = DecodeSettings(length=8, steps=8)
    expected, found = (caption_passes(model, passes, settings) for model in (plain, placed))
    for one, other in zip(expected, found, strict=True):
        assert [own.tokens for own in one.captions] == [own.tokens for own in other.captions]
        for own, its in zip(one.captions, other.captions, strict=True):
            assert own.mean_confidence == pytest.approx(its.mean_confidence, rel=1e-4)


@pytest.mark.parametrize("compiled", [True, False])
def test_compiled_and_quantized_products_stay_torch_s_own(compiled, monkeypatch):
    monkeypatch.setattr("model.compiled.compile_decoder", lambda decoder: 1.5)
    model = copy.deepcopy(tiny())
    decoder = model.language_model.model
    assert place(model, torch.device("cpu"), "int8", compiled=compiled) == (1.5 if compiled else None)
    assert not any(isinstance(own, BlockedLinear) for own in decoder.modules())
    assert isinstance(model.language_model.lm_head, nn.Linear) == (compiled or not can_block(torch.float32))


def test_what_onednn_does_not_multiply_stays():
    model = nn.Sequential(nn.Linear(3, 2)).double()
    block_linears(model)
    assert type(model[0]) is nn.Linear


@blocks
def test_costs_are_a_table(monkeypatch, capsys):
    monkeypatch.setattr(product_cost, "WIDTHS", ((8, 16),))
    monkeypatch.setattr(product_cost, "ROWS", (1, 3))
    product_cost.main()
    heads, _, *rows = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines()]
    assert len(rows) in (2, 4)  # bf16 too, where the machine has it
    assert all(len(row) == len(heads) for row in rows)
