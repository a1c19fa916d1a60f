"""Baselines are what they are called: the published loop, and a causal decoder."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from model.decode import caption_passes, plan_batch
from model.pdlm import PerceptionDLM
from model.settings import DecodeSettings
from pdlm_cli.bench import subject
from pdlm_cli.bench.baselines import released_steps, write_left_to_right
from pdlm_cli.bench.contenders import Contenders, Part
from pdlm_cli.bench.subject import causal_twin, released_twin
from tests.bench.support import session
from tests.model.support import ISOLATED, RELEASED, one_pass, tiny


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_the_published_loop_writes_the_captions_of_the_released_semantics(steps: int) -> None:
    model = tiny(RELEASED)  # whose weights are chosen to write different tokens in different places
    prepared, settings = one_pass(model, 300, 200, 6), DecodeSettings(steps=steps, length=8)
    batch = plan_batch(model, [prepared], settings)
    with torch.inference_mode():
        embeds = model.embed(batch)
    blank = torch.full_like(batch.slots.flatten(), model.tokens.mask)
    written = released_steps(model, batch, embeds, blank, steps, steps).view(6, 8).tolist()
    [expected] = caption_passes(model, [prepared], settings)
    ends = {model.tokens.end_of_turn, model.tokens.end_of_text}
    for caption, slot in zip(expected.captions, expected.slots, strict=True):
        length = next((place for place, token in enumerate(written[slot]) if token in ends), len(written[slot]))
        assert caption.tokens == written[slot][:length]
    assert len({tuple(caption) for caption in written}) > 1  # it could have been told apart


def test_the_released_twin_decodes_like_a_model_of_that_config() -> None:
    model = tiny(RELEASED)
    prepared, settings = one_pass(model, 300, 200, 3), DecodeSettings(steps=3, length=6)
    isolated = copy.deepcopy(model)
    isolated.config.regions = ISOLATED
    captions = [caption_passes(own, [prepared], settings)[0].captions for own in (model, released_twin(isolated))]
    assert captions[0] == captions[1]


@pytest.mark.parametrize(("quantize", "made"), [(None, "meta"), ("int8", "cpu")])
def test_random_weights_that_are_to_be_stored_small_never_need_their_full_room_on_the_device(
    quantize: str | None, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8B in bf16 does not fit the 12 GB that it fits in 4 bits."""
    arrived: list[str] = []

    def place(model: PerceptionDLM, *_: Any, **__: Any) -> None:
        arrived.extend({parameter.device.type for parameter in model.parameters()})

    monkeypatch.setattr(subject, "pick_device", lambda name: torch.device("meta"))
    monkeypatch.setattr(subject, "place", place)
    subject.open_subject(None, "tiny", None, "auto", "fp32", quantize)
    assert arrived == [made]


def test_twins_share_the_weights_and_leave_the_model_as_it_was() -> None:
    model = tiny()
    own = {parameter.data_ptr() for parameter in model.parameters()}
    for twin in (released_twin(model), causal_twin(model)):
        assert {parameter.data_ptr() for parameter in twin.parameters()} <= own
    assert model.config.regions == ISOLATED
    assert not model.language_model.config.is_causal


def test_left_to_right_sees_nothing_of_what_comes_later() -> None:
    decoder = causal_twin(tiny())
    entered = torch.randn(1, 12, 64, generator=torch.Generator().manual_seed(0))
    changed = entered.clone()
    changed[:, 7:] += 1
    with torch.inference_mode():
        one, other = (decoder(inputs_embeds=embeds).logits[0] for embeds in (entered, changed))
        both = (
            tiny().language_model(inputs_embeds=changed).logits[0]
            - tiny().language_model(inputs_embeds=entered).logits[0]
        )
    assert torch.equal(one[:7], other[:7])
    assert not torch.allclose(one[7:], other[7:])
    assert both[:7].abs().min(dim=1).values.max() > 0  # as the model itself does


def test_the_cache_of_left_to_right_changes_nothing() -> None:
    decoder = causal_twin(tiny())
    prompt = torch.randn(1, 9, 64, generator=torch.Generator().manual_seed(1))
    cached, plain = (write_left_to_right(decoder, prompt, 6, cached=own) for own in (True, False))
    assert torch.equal(cached[0], plain[0])
    torch.testing.assert_close(cached[1], plain[1], atol=1e-4, rtol=1e-5)


def test_what_is_run_in_part_is_counted_as_a_whole() -> None:
    own = session(regions=3)
    scene = own.scene(3)
    half = Contenders(own.subject, own.settings, Part(steps=2, regions=1))
    assert half.released().caption(scene).measured == 2 / 4
    assert half.uncached().caption(scene).measured == 2 / 4
    assert half.one_by_one(1).caption(scene).measured == pytest.approx(1 / 3)
    assert half.left_to_right().caption(scene).measured == pytest.approx(1 / 3)
    assert half.together().caption(scene).measured == 1


def test_steps_of_a_contender_are_those_of_its_captions() -> None:
    own = session(decode=DecodeSettings(steps=3, length=4))
    scene = own.scene(2)
    assert own.contenders.together().caption(scene).steps == 3
    assert own.contenders.together(replace(own.settings, steps=2)).caption(scene).steps == 2
    assert own.contenders.left_to_right().caption(scene).steps == 4
