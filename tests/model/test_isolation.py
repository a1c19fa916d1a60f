"""Who influences whom, and that caching and batching change nothing."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from model.batch import Batch, collate_passes
from model.decode import caption_passes, plan_batch
from model.denoiser import CaptionLogits
from model.layout import Kind, plan_pass
from model.settings import DecodeSettings
from tests.model.support import ISOLATED, RELEASED, one_pass, tiny


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def logits_and_edits(regions) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits of three captions at full depth: untouched, and with caption, RoI or marker of region 1 edited."""
    model = tiny(regions)
    batch = plan_batch(model, [one_pass(model, 300, 200, 3)], DecodeSettings(length=6))
    embeds = model.embed(batch)

    def logits(changed: torch.Tensor) -> torch.Tensor:
        return model.logits(model.run(changed, batch), batch.slots)[0]

    def noise(where: torch.Tensor) -> torch.Tensor:
        return torch.where(where[..., None], torch.randn_like(embeds, generator=None), embeds)

    torch.manual_seed(0)
    own = batch.region == 1
    slots = torch.zeros_like(own).index_fill(1, batch.slots[0, 1], True)
    edits = {
        "caption slots": noise(slots),
        "marker": noise(own & (batch.kind == Kind.CAPTION) & ~slots),
        "RoI": noise(own & (batch.kind == Kind.ROI)),
    }
    return logits(embeds), {name: logits(changed) for name, changed in edits.items()}


@pytest.mark.parametrize("edit", ["caption slots", "marker", "RoI"])
def test_isolated_captions_are_bit_equal_whatever_happens_to_another_region(edit):
    untouched, edited = logits_and_edits(ISOLATED)
    assert torch.equal(edited[edit][[0, 2]], untouched[[0, 2]])
    assert not torch.equal(edited[edit][1], untouched[1])


@pytest.mark.parametrize("edit", ["caption slots", "marker", "RoI"])
def test_released_captions_leak_into_each_other_through_the_context(edit):
    untouched, edited = logits_and_edits(RELEASED)
    assert not torch.equal(edited[edit][[0, 2]], untouched[[0, 2]])


def test_isolated_caption_does_not_depend_on_how_many_share_the_pass():
    """With the region prompts taken away, region 0 alone has the logits it has among three."""
    model = tiny(ISOLATED)
    batch = plan_batch(model, [one_pass(model, 300, 200, 3)], DecodeSettings(length=6))
    batch = replace(batch, footprints=torch.zeros_like(batch.footprints))
    keep = batch.region[0] <= 0
    alone = Batch(
        **{
            **{name: getattr(batch, name) for name in ("tiles", "tile_counts", "grids", "footprints")},
            **{
                name: getattr(batch, name)[:, keep]
                for name in ("input_ids", "position_ids", "kind", "region", "labelled", "image")
            },
            "boxes": (batch.boxes[0][:1],),
            "masks": (batch.masks[0][:1],),
            "slots": batch.slots[:, :1] - 2 * model.config.roi_tokens,
            "prefix": batch.prefix - 2 * model.config.roi_tokens,
        }
    )
    torch.testing.assert_close(model(alone)[0, 0], model(batch)[0, 0], rtol=0, atol=1e-5)


def all_logits(model, passes, cache: str, calls: int = 5) -> torch.Tensor:
    """Logits of a few calls with captions that fill up."""
    settings = DecodeSettings(length=6, cache=cache)
    batch = plan_batch(model, passes, settings)
    logits_fn = CaptionLogits(model, batch, model.embed(batch), cache)
    generator = torch.Generator().manual_seed(5)
    captions = torch.full(batch.slots.shape, model.tokens.mask)
    output = []
    for call in range(calls):
        output.append(logits_fn(captions))
        captions = captions.clone()
        captions[:, :, call] = torch.randint(0, 256, captions.shape[:2], generator=generator)
    return torch.stack(output)


@pytest.mark.parametrize("cache", ["exact", "auto", "frozen", "refresh=2"])
def test_isolated_cache_changes_nothing(cache):
    model = tiny(ISOLATED)
    passes = [one_pass(model, 300, 200, 3), one_pass(model, 120, 128, 5, seed=1)]
    torch.testing.assert_close(all_logits(model, passes, cache), all_logits(model, passes, "none"), rtol=0, atol=2e-5)


def test_isolated_cache_of_running_positions_changes_nothing():
    model = tiny(ISOLATED.with_(positions="released"))
    passes = [one_pass(model, 300, 200, 3)]
    torch.testing.assert_close(all_logits(model, passes, "exact"), all_logits(model, passes, "none"), rtol=0, atol=2e-5)


def test_released_cache_is_exact_only_when_it_is_refreshed_in_every_step():
    model = tiny(RELEASED)
    passes = [one_pass(model, 300, 200, 3)]
    none, often, seldom, frozen = (
        all_logits(model, passes, cache) for cache in ("none", "refresh=1", "refresh=3", "frozen")
    )
    torch.testing.assert_close(often, none, rtol=0, atol=2e-5)
    torch.testing.assert_close(seldom[[0, 3]], none[[0, 3]], rtol=0, atol=2e-5)
    for approximate in (seldom, frozen):
        torch.testing.assert_close(approximate[0], none[0], rtol=0, atol=2e-5)
        assert (approximate[2] - none[2]).abs().max() > 1e-3
    assert (frozen[3] - none[3]).abs().max() > 1e-3


@pytest.mark.parametrize("regions", [ISOLATED, RELEASED], ids=["isolated", "released"])
def test_batch_equals_one_at_a_time(regions):
    """Pictures of the same and of different tile counts, of different region counts."""
    model = tiny(regions)
    passes = [
        one_pass(model, 300, 200, 3),
        one_pass(model, 300, 200, 6, seed=1),
        one_pass(model, 120, 128, 1, seed=2),
        one_pass(model, 90, 260, 4, seed=3),
    ]
    settings = DecodeSettings(length=5)
    together = plan_batch(model, passes, settings)
    logits = model(together)
    for row, prepared in enumerate(passes):
        alone = model(plan_batch(model, [prepared], settings))[0]
        torch.testing.assert_close(logits[row, : len(prepared.order)], alone, rtol=0, atol=2e-5)

    for sampling in ({}, {"temperature": 1.0, "top_p": 0.9, "cfg_scale": 0.5}):
        settings = DecodeSettings(length=5, steps=4, **sampling)
        batched = caption_passes(model, passes, settings)
        single = [caption_passes(model, [prepared], settings)[0] for prepared in passes]
        assert [[c.tokens for c in p.captions] for p in batched] == [[c.tokens for c in p.captions] for p in single]


def test_vision_of_a_batch_is_laid_out_by_picture():
    model = tiny(ISOLATED)
    passes = [one_pass(model, 120, 128, 1), one_pass(model, 300, 200, 2)]
    batch = plan_batch(model, passes, DecodeSettings(length=2))
    assert batch.tile_counts == (1, 7)
    tiles = model.encode(batch)
    alone = model.encode(plan_batch(model, passes[1:], DecodeSettings(length=2)))
    torch.testing.assert_close(tiles[1:], alone, rtol=0, atol=1e-5)


def test_collating_keeps_each_prompt_on_its_own_patches():
    model = tiny(ISOLATED)
    prepared = replace(one_pass(model, 300, 200, 2), prompts=(3, 3))
    layout = plan_pass(model.tokens, model.config, tiles=len(prepared.image.tiles), captions=[[1], [1]])
    counts = collate_passes([prepared], [layout], model.config).footprints
    assert counts is not None
    assert counts[:, [0, 1, 2, 4, 5]].sum() == 0
    assert torch.equal(counts[:, 3].flatten(), torch.from_numpy(prepared.footprints.sum(axis=0)).flatten().float())
