"""The composed towers against transformers' own modules with the same weights."""

from collections.abc import Iterator

import pytest
import torch
from transformers import LlamaConfig, LlamaModel, SiglipVisionModel

from model.batch import collate_images
from model.decode import plan_batch
from model.layout import plan_chat
from model.preprocess import normalise, prepare_image
from model.settings import DecodeSettings
from model.sizes import random_model
from tests.model.support import ISOLATED, RELEASED, one_pass, picture, tiny


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_vision_tower_is_siglips_penultimate_hidden_state():
    model = tiny(ISOLATED)
    config = model.config.vision_config
    stock = SiglipVisionModel(config).eval()
    own = model.vision_model.vision_model
    tower = getattr(stock, "vision_model", stock)  # which early releases of transformers 5 wrap once more
    tower.embeddings.load_state_dict(own["embeddings"].state_dict())
    missing = tower.encoder.load_state_dict(own["encoder"].state_dict(), strict=False).missing_keys
    assert {name.split(".")[1] for name in missing} == {str(config.num_hidden_layers - 1)}  # the block never built
    pixels = normalise(torch.from_numpy(prepare_image(picture(300, 200), model.config).tiles))
    hidden = stock(pixels, output_hidden_states=True).hidden_states
    torch.testing.assert_close(model.vision_model(pixels), hidden[model.config.vision_select_layer])


def chat_batch(model):
    image = prepare_image(picture(120, 128), model.config)
    layout = plan_chat(model.tokens, model.config, tiles=1, question="What is this?", answer=[model.tokens.mask] * 8)
    return collate_images([image], [layout], model.config)


def test_decoder_is_a_llama_that_sees_both_ways():
    model = tiny(ISOLATED)
    batch = chat_batch(model)
    embeds = model.language_model.model.embed_tokens(batch.input_ids)
    stock = LlamaModel(model.config.text_config).eval()
    stock.load_state_dict(model.language_model.model.state_dict())
    everything = torch.ones(1, 1, *(2 * [embeds.shape[1]]), dtype=torch.bool)
    expected = stock(inputs_embeds=embeds, attention_mask=everything).last_hidden_state
    torch.testing.assert_close(model.run(embeds, batch), expected, rtol=0, atol=1e-5)


def test_config_makes_llama_bidirectional_where_no_mask_is_given():
    model = tiny(ISOLATED)
    embeds = torch.randn(1, 9, model.config.text_config.hidden_size)
    edited = embeds.clone()
    edited[:, -1] += 1.0

    def first_sees_last(config) -> bool:
        stock = LlamaModel(config).eval()
        hidden, changed = stock(inputs_embeds=embeds), stock(inputs_embeds=edited)
        return not torch.equal(hidden.last_hidden_state[:, 0], changed.last_hidden_state[:, 0])

    assert first_sees_last(model.config.text_config)
    assert not first_sees_last(LlamaConfig(**{**model.config.text_config.to_dict(), "is_causal": True}))


@pytest.mark.parametrize("regions", [ISOLATED, RELEASED], ids=["isolated", "released"])
def test_eager_attention_equals_sdpa(regions):
    model = tiny(regions)
    batch = plan_batch(model, [one_pass(model, 300, 200, 3), one_pass(model, 120, 128, 1)], DecodeSettings(length=4))
    expected = model(batch)
    model.set_attn_implementation("eager")
    try:
        found = model(batch)
    finally:
        model.set_attn_implementation("sdpa")
    real = batch.slots >= 0
    torch.testing.assert_close(found[real], expected[real], rtol=0, atol=2e-5)


@pytest.mark.parametrize("implementation", ["flash_attention_2", "flex_attention"])
def test_attention_that_takes_no_such_mask_is_refused(implementation):
    with pytest.raises((ValueError, ImportError)):
        tiny(ISOLATED).set_attn_implementation(implementation)


def test_embeddings_are_found_by_those_who_resize_them():
    model = random_model("tiny")
    model.resize_token_embeddings(320)
    assert len(model.get_input_embeddings().weight) == len(model.get_output_embeddings().weight) == 320
    assert model.config.text_config.vocab_size == 320


def test_gradients_reach_every_parameter_that_is_trained():
    model = tiny(ISOLATED)
    with torch.enable_grad():
        batch = plan_batch(model, [one_pass(model, 300, 200, 6)], DecodeSettings(length=4))
        model(batch).logsumexp(dim=-1).sum().backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    model.zero_grad(set_to_none=True)
    assert without == []
