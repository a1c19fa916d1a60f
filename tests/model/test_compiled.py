"""Compiled parts of the decoder: the same captions, compiled once, and a clear error where torch cannot compile."""

from typing import Any

import pytest
import torch
from torch import nn

from model.compiled import compile_decoder
from model.decode import caption_passes
from model.pdlm import PerceptionDLM
from model.settings import DecodeSettings
from model.sizes import random_model
from tests.model.test_quantize import captions, loaded, passes


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """What is compiled, by the tracer alone: code for a device takes a minute to make, and a compiler."""
    seen: list[torch.fx.GraphModule] = []

    def trace(graph: torch.fx.GraphModule, _: Any) -> torch.fx.GraphModule:
        seen.append(graph)
        return graph

    usual = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module, **how: usual(module, backend=trace, **how))
    return seen


@pytest.mark.parametrize("kind", [None, "int8", "nf4"])
def test_captions_are_the_same_and_nothing_is_compiled_on_the_way(
    kind: str | None, graphs: list[torch.fx.GraphModule]
) -> None:
    plain, compiled = loaded(kind), loaded(kind)
    assert compile_decoder(compiled.language_model.model) > 0
    ready = len(graphs)
    assert ready > 0
    assert captions(compiled) == captions(plain)
    assert len(graphs) == ready


def test_parts_are_traced_whole(graphs: list[torch.fx.GraphModule]) -> None:
    compile_decoder(loaded(None).language_model.model)
    assert len(graphs) == 2  # an MLP and a norm, for all layers


def test_released_semantics_too(graphs: list[torch.fx.GraphModule]) -> None:
    plain, compiled = loaded(None), loaded(None)
    compile_decoder(compiled.language_model.model)

    def written(model: PerceptionDLM) -> list[list[int]]:
        results = caption_passes(model, passes()[:2], DecodeSettings(steps=4, length=8, cache="none"))
        return [caption.tokens for result in results for caption in result.captions]

    assert written(compiled) == written(plain)


def test_any_number_of_rows_fits_a_decoder_of_width_64(graphs: list[torch.fx.GraphModule]) -> None:
    decoder = random_model("tiny").language_model.model
    compile_decoder(decoder)
    ready, width = len(graphs), len(decoder.norm.weight)
    assert width == 64
    with torch.inference_mode():
        for rows in (64, 213):
            decoder(inputs_embeds=torch.zeros(1, rows, width), use_cache=False)
    assert len(graphs) == ready


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, within its own compiler
def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config

    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(torch._inductor.config, "force_disable_caches", True)
    with pytest.raises(ValueError, match=r"torch cannot compile here.*leave --compile out"):
        compile_decoder(loaded(None).language_model.model)
