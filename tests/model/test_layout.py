"""Plans, and the attention mask against a slow builder that follows the rules sentence by sentence."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.attention import structured_mask
from model.batch import collate_passes
from model.layout import Kind, Layout, plan_pass
from tests.model.support import ISOLATED, RELEASED, one_pass, tiny

CONFIGS = st.sampled_from(
    [ISOLATED, RELEASED, ISOLATED.with_(positions="released"), RELEASED.with_(positions="isolated")]
)


def readable_mask(layout: Layout, attention: str) -> list[list[bool]]:
    """Row by row, token by token."""
    kinds, regions = layout.kind.tolist(), layout.region.tolist()

    def sees(row: int, column: int) -> bool:
        same_region = regions[row] == regions[column] and regions[column] != -1
        if kinds[row] == Kind.CAPTION:  # the same under both: prompt and image, own RoI, own span
            return kinds[column] == Kind.CONTEXT or same_region
        if attention == "released":
            return True
        if kinds[column] == Kind.CONTEXT:
            return True
        if kinds[row] == Kind.ROI:
            return kinds[column] == Kind.ROI and same_region
        return kinds[row] == Kind.GAP and kinds[column] == Kind.GAP

    places = range(len(kinds))
    return [[sees(row, column) for column in places] for row in places]


@given(config=CONFIGS, tiles=st.integers(1, 3), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_mask_equals_the_readable_builder(config, tiles, lengths):
    model = tiny(config)
    captions = [[model.tokens.mask] * length for length in lengths]
    layout = plan_pass(model.tokens, model.config, tiles=tiles, captions=captions)
    fast = structured_mask(layout.kind[None], layout.region[None], config.attention)[0, 0]
    assert fast.tolist() == readable_mask(layout, config.attention)


@given(config=CONFIGS, lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_plan_names_every_token_once(config, lengths):
    model = tiny(config)
    captions = [[model.tokens.mask] * length for length in lengths]
    layout = plan_pass(model.tokens, model.config, tiles=1, captions=captions)
    assert layout.roi.shape == (len(lengths), 16)
    assert (layout.kind[layout.roi] == Kind.ROI).all()
    slots = layout.slots[layout.slots >= 0]
    assert sorted(slots.tolist()) == (layout.input_ids == model.tokens.mask).nonzero().squeeze(1).tolist()
    assert (layout.kind[layout.prefix :] == Kind.CAPTION).all()
    assert not (layout.kind[: layout.prefix] == Kind.CAPTION).any()


@pytest.mark.parametrize("attention", ["released", "isolated"])
def test_released_positions_run_through_and_isolated_ones_start_over(attention):
    captions = [[1] * 3, [1] * 4]
    running = tiny(RELEASED.with_(attention=attention))
    layout = plan_pass(running.tokens, running.config, tiles=1, captions=captions)
    assert layout.position_ids.tolist() == list(range(len(layout.input_ids)))

    parallel = tiny(ISOLATED.with_(attention=attention))
    layout = plan_pass(parallel.tokens, parallel.config, tiles=1, captions=captions)
    start = int(layout.roi[0, 0])
    assert layout.position_ids[: start + 16].tolist() == list(range(start + 16))
    for region in range(2):
        own = layout.position_ids[(layout.region == region)]
        assert own.tolist() == list(range(start, start + 16 + 1 + len(captions[region])))


def test_isolated_markers_are_given_and_released_ones_are_learnt():
    for config, labels in ((RELEASED, 2 * (1 + 3 + 1)), (ISOLATED, 2 * 3)):
        model = tiny(config)
        layout = plan_pass(model.tokens, model.config, tiles=1, captions=[[1] * 3] * 2, markers=[4, 2])
        assert int(layout.labelled.sum()) == labels
        opening = layout.input_ids[layout.prefix :]
        assert [i for i in opening.tolist() if i in model.tokens.captions] == [
            model.tokens.captions[4],
            model.tokens.captions[2],
        ]


def test_instruction_of_the_user_stays_text():
    model = tiny()
    text = "Name <|mdm_mask|> and <IMG_CONTEXT> here"
    layout = plan_pass(model.tokens, model.config, tiles=1, captions=[[1]], instruction=text)
    assert len(layout.image) == model.config.tokens_per_tile
    assert not (layout.input_ids == model.tokens.mask).any()
    assert text in model.tokens.tokenizer.decode(layout.input_ids)


def test_padding_is_seen_by_nobody_and_every_row_sees_something():
    for config in (ISOLATED, RELEASED):
        model = tiny(config)
        passes = [one_pass(model, 120, 128, 1), one_pass(model, 300, 200, 4)]
        layouts = [
            plan_pass(model.tokens, model.config, tiles=len(p.image.tiles), captions=[[1] * 5] * len(p.order))
            for p in passes
        ]
        batch = collate_passes(passes, layouts, model.config)
        mask = structured_mask(batch.kind, batch.region, config.attention)[:, 0]
        assert (batch.kind == Kind.PAD).any()
        padding = (batch.kind == Kind.PAD)[:, None, :].expand_as(mask)
        assert not mask[padding].any()
        assert mask.any(dim=2).all()
        for row, layout in enumerate(layouts):
            real = (batch.kind[row] != Kind.PAD).nonzero().squeeze(1)
            own = mask[row][real][:, real]
            alone = structured_mask(layout.kind[None], layout.region[None], config.attention)[0, 0]
            assert torch.equal(own, alone)
