"""Parts of the model left out, as ablations do: full attention, no RoI tokens, no region prompts, one for all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.attention import structured_mask
from model.batch import collate_passes
from model.decode import caption_passes, plan_batch
from model.diffusion import add_noise
from model.layout import Kind, plan_pass
from model.pdlm import PerceptionDLM
from model.preprocess import prepare_image, prepare_pass
from model.settings import DecodeSettings
from tests.model.support import ISOLATED, RELEASED, boxes, one_pass, picture, tiny

FULL = ISOLATED.with_(attention="full", positions="released")
NO_ROI = ISOLATED.with_(roi_features="none")
NO_PROMPTS = ISOLATED.with_(footprint="none")
SHARED = ISOLATED.with_(binding="shared")
LEFT_OUT = {
    "full": FULL,
    "no RoI": NO_ROI,
    "no RoI, running": RELEASED.with_(roi_features="none"),
    "no prompts": NO_PROMPTS,
    "shared": SHARED,
    "nothing": ISOLATED.with_(footprint="none", roi_features="none"),
}


@pytest.mark.parametrize("regions", LEFT_OUT.values(), ids=list(LEFT_OUT))
def test_models_without_a_part_caption_and_learn_and_are_saved_with_what_they_lack(regions, tmp_path: Path):
    model = tiny(regions)
    image, masks = picture(300, 200), boxes(300, 200, 7)
    captions = model.caption(image, masks, steps=2, length=4)
    assert len(captions) == 7

    batch = plan_batch(model, [one_pass(model, 300, 200, 3), one_pass(model, 120, 128, 5)], DecodeSettings(length=4))
    hit = batch.labelled
    noise = add_noise(batch.input_ids, torch.ones(2), hit, model.tokens.mask)
    assert torch.isfinite(model(batch, noise))

    model.save_pretrained(tmp_path)
    again = PerceptionDLM.from_pretrained(tmp_path)
    assert again.config.regions == regions
    assert [c.tokens for c in again.caption(image, masks, steps=2, length=4)] == [c.tokens for c in captions]


# --- full attention


def test_full_attention_hides_padding_and_nothing_else():
    model = tiny(FULL)
    passes = [one_pass(model, 120, 128, 1), one_pass(model, 300, 200, 4)]
    layouts = [
        plan_pass(model.tokens, model.config, tiles=len(p.image.tiles), captions=[[1] * 5] * len(p.order))
        for p in passes
    ]
    batch = collate_passes(passes, layouts, model.config)
    mask = structured_mask(batch.kind, batch.region, "full")
    assert mask.shape == (2, 1, batch.kind.shape[1], batch.kind.shape[1])
    assert torch.equal(mask[:, 0], (batch.kind != Kind.PAD)[:, None, :].expand_as(mask[:, 0]))
    part = structured_mask(batch.kind, batch.region, "full", rows=slice(3, 9), columns=slice(0, 20))
    assert torch.equal(part, mask[:, :, 3:9, :20])


def test_captions_see_each_other_under_full_attention_from_the_first_layer():
    """The context is cut off, so that what is edited can only be seen directly."""
    for regions, seen in ((FULL, True), (RELEASED.with_(budget="isolated"), False)):
        model = tiny(regions)
        batch = plan_batch(model, [one_pass(model, 300, 200, 3)], DecodeSettings(length=6))
        mask = structured_mask(batch.kind, batch.region, regions.attention)[0, 0]
        first, second = batch.slots[0, :2]
        assert bool(mask[first][:, second].any()) == seen


def test_full_attention_needs_running_positions():
    with pytest.raises(ValueError, match="positions released"):
        ISOLATED.with_(attention="full")


def test_full_attention_has_no_exact_cache_and_auto_uses_none():
    model = tiny(FULL)
    passes = [one_pass(model, 300, 200, 2)]
    with pytest.raises(ValueError, match="full attention"):
        caption_passes(model, passes, DecodeSettings(cache="exact"))
    tokens = {
        cache: [
            c.tokens for c in caption_passes(model, passes, DecodeSettings(steps=3, length=4, cache=cache))[0].captions
        ]
        for cache in ("auto", "none", "refresh=1")
    }
    assert tokens["auto"] == tokens["none"] == tokens["refresh=1"]


# --- no RoI tokens


@pytest.mark.parametrize("positions", ["released", "isolated"])
def test_without_roi_features_the_plan_has_no_rows_for_them(positions):
    model = tiny(NO_ROI.with_(positions=positions))
    layout = plan_pass(model.tokens, model.config, tiles=1, captions=[[1] * 3] * 4)
    assert layout.roi.shape == (4, 0)
    assert not ((layout.kind == Kind.ROI) | (layout.kind == Kind.GAP)).any()
    whole = plan_pass(tiny().tokens, tiny().config, tiles=1, captions=[[1] * 3] * 4)
    if positions == "isolated":  # everything else is as it was
        assert layout.input_ids.tolist() == whole.input_ids[whole.kind != Kind.ROI].tolist()
        assert layout.position_ids[layout.slots[2, 0]] == layout.prefix + 1


def test_without_roi_features_boxes_do_not_matter():
    model = tiny(NO_ROI)
    batch = plan_batch(model, [one_pass(model, 300, 200, 3)], DecodeSettings(length=4))
    moved = replace(batch, boxes=(torch.rand(3, 4).sort(dim=1).values,))
    assert torch.equal(model.embed(moved), model.embed(batch))


# --- no region prompts, and one for all


def test_without_region_prompts_their_embedding_has_no_effect():
    def embeds(regions, spread: float) -> torch.Tensor:
        model = tiny(regions)
        before = model.mask_id_embedding.weight.data.clone()
        model.mask_id_embedding.weight.data.mul_(spread)
        batch = plan_batch(model, [one_pass(model, 300, 200, 3)], DecodeSettings(length=4))
        found = model.embed(batch)
        model.mask_id_embedding.weight.data.copy_(before)
        return found

    assert torch.equal(embeds(NO_PROMPTS, 5.0), embeds(NO_PROMPTS, 1.0))
    assert not torch.equal(embeds(ISOLATED, 5.0), embeds(ISOLATED, 1.0))


@pytest.mark.parametrize(("width", "height", "tiles"), [(120, 128, 1), (300, 200, 7)])
def test_footprints_of_no_prompts_are_empty_and_of_the_usual_shape(width, height, tiles):
    model = tiny(NO_PROMPTS)
    prepared = one_pass(model, width, height, 3)
    assert prepared.footprints.shape == one_pass(tiny(), width, height, 3).footprints.shape
    assert prepared.footprints.shape[:2] == (3, tiles)
    assert not prepared.footprints.any()


def test_a_shared_prompt_is_the_first_one_for_every_region_with_markers_of_its_own():
    model = tiny(SHARED)
    prepared = one_pass(model, 300, 200, 4)
    assert (prepared.prompts, prepared.markers) == ((0, 0, 0, 0), (0, 1, 2, 3))
    batch = plan_batch(model, [prepared], DecodeSettings(length=2))
    assert batch.footprints is not None
    assert not batch.footprints[:, 1:].any()
    expected = prepared.footprints.sum(axis=0).reshape(len(batch.tiles), -1)
    assert np.array_equal(batch.footprints[:, 0].numpy(), expected)


def test_prompts_and_markers_of_the_two_semantics_are_the_slots():
    for regions in (ISOLATED, RELEASED):
        model = tiny(regions)
        prepared = prepare_pass(prepare_image(picture(90, 60), model.config), boxes(90, 60, 3), model.config)
        assert prepared.prompts == prepared.markers == (0, 1, 2)
