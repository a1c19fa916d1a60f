"""From prepared passes to captions."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.batch import Batch, collate_passes, plan_blank
from model.captions import PassCaptions, cut_caption
from model.clock import now
from model.config import PerceptionDLMConfig, RegionConfig
from model.denoiser import slot_logits
from model.layout import check_room, plan_pass
from model.preprocess import PreparedPass
from model.rules import Denoised, denoise
from model.settings import DecodeSettings
from model.stream import CaptionStream, Show
from model.tokens import Tokens

if TYPE_CHECKING:  # the model calls this module
    from model.pdlm import PerceptionDLM

# Told of the slots of every caption, as they are before the first step and after each: ids by pass and by mask of the
# pass, the mask token where nothing is written.
Watch = Callable[[list[list[list[int]]]], None]

NAN_LOGITS = "the model gave NaN or infinite logits; if it does so often, try another dtype (bf16 or fp32)"


def check_prompt(
    settings: DecodeSettings,
    tokens: Tokens,
    config: PerceptionDLMConfig,
    *,
    tiles: int | None = None,
    regions: int = 1,
    instruction: str | None = None,
) -> None:
    """Raise ValueError if picture, prompt and captions of a pass are more than the model reads.

    tiles: of the picture, None for the smallest. instruction: in place of the prompt, if the pass has one.
    """
    blank = [[tokens.mask] * settings.length] * regions
    tiles = config.min_tiles if tiles is None else tiles
    layout = plan_pass(tokens, config, tiles=tiles, captions=blank, instruction=instruction or settings.prompt)
    check_room(layout, config)


def caption_passes(
    model: "PerceptionDLM",
    passes: Sequence[PreparedPass],
    settings: DecodeSettings,
    watch: Watch | None = None,
    *,
    lanes: int | None = None,
) -> list[PassCaptions]:
    """Captions of passes, of any mix of tile and region counts, watched on the way if asked for.

    lanes: passes on the device at a time, None for all. NaN and infinite logits are looked for on the device in every
    step, and asked for once, with the tokens.
    """
    settings.check(model.config)
    lanes = lanes or max(1, len(passes))
    show = _show_all(passes, [model.tokens.mask] * settings.length, watch) if watch is not None else None
    if settings.streams(model.config):
        return _stream(model, passes, settings, show, lanes)
    starts = range(0, len(passes), lanes)
    batches = [_caption_batch(model, passes[start : start + lanes], settings, show, start) for start in starts]
    return [output for batch in batches for output in batch]


def _show_all(passes: Sequence[PreparedPass], blank: list[int], watch: Watch) -> Show:
    """Tells `watch` of all passes, of which those that are not on the device are as they were left."""
    slots = [[blank for _ in prepared.order] for prepared in passes]

    def show(on_device: dict[int, list[list[int]]]) -> None:
        for index, own in on_device.items():
            slots[index] = list(own)
        watch([[own[slot] for slot in prepared.slots] for own, prepared in zip(slots, passes, strict=True)])

    return show


def _stream(
    model: "PerceptionDLM", passes: Sequence[PreparedPass], settings: DecodeSettings, show: Show | None, lanes: int
) -> list[PassCaptions]:
    regions = model.config.regions
    assert regions is not None
    sampling = settings.sampling(_banned(model.tokens, regions, settings))
    rule, length, prompt = settings.rule(regions.budget), settings.length, settings.prompt
    stream = CaptionStream(model, rule, sampling, length, prompt, lanes, show, delayed=settings.cache == "delayed")
    outputs = dict(stream.run(passes))
    return [outputs[index] for index in range(len(passes))]


@torch.inference_mode()
def _caption_batch(
    model: "PerceptionDLM", passes: Sequence[PreparedPass], settings: DecodeSettings, show: Show | None, first: int
) -> list[PassCaptions]:
    """first: number of the first of these passes among all."""

    def show_rows(captions: Tensor) -> None:
        if show is not None:
            show(dict(enumerate(captions.tolist(), first)))

    started = now(model.device)
    batch = plan_batch(model, passes, settings)
    embeds = model.embed(batch)
    encoded = now(model.device)
    result = denoise_batch(model, batch, embeds, passes, settings, show_rows)
    decoded = now(model.device)

    shape = batch.slots.shape
    tokens, confidence = result.tokens.view(shape).tolist(), result.confidence.exp().view(shape).tolist()
    steps = result.steps.view(len(passes), -1).expand(-1, shape[1]).tolist()
    broken = result.broken.view(len(passes), -1).any(dim=1).tolist()
    encode_ms, decode_ms = 1e3 * (encoded - started), 1e3 * (decoded - encoded)
    output = []
    for row, prepared in enumerate(passes):
        captions = [
            cut_caption(model.tokens, tokens[row][slot], confidence[row][slot], steps[row][slot])
            for slot in prepared.slots
        ]
        output.append(
            PassCaptions(
                captions,
                prepared.slots,
                together=len(passes),
                encode_ms=encode_ms,
                decode_ms=decode_ms,
                encode_share_ms=encode_ms / len(passes),
                decode_share_ms=decode_ms / len(passes),
                broken=broken[row],
            )
        )
    return output


def plan_batch(model: "PerceptionDLM", passes: Sequence[PreparedPass], settings: DecodeSettings) -> Batch:
    """Passes as a batch on the model's device, all caption slots masked."""
    layouts = [
        plan_blank(model.tokens, model.config, prepared, settings.length, settings.prompt) for prepared in passes
    ]
    return collate_passes(passes, layouts, model.config).to(model.device)


def denoise_batch(
    model: "PerceptionDLM",
    batch: Batch,
    embeds: Tensor,
    passes: Sequence[PreparedPass],
    settings: DecodeSettings,
    show: Callable[[Tensor], None] = lambda captions: None,
) -> Denoised:
    """Tokens of all slots; pools are captions or passes, as the checkpoint's step budget says. show: told of the
    captions (B, R, G) before the first step and after each."""
    regions = model.config.regions
    assert regions is not None
    shape = batch.slots.shape
    isolated = regions.budget == "isolated"
    pools = (shape[0] * shape[1], shape[2]) if isolated else (shape[0], shape[1] * shape[2])
    mask, end = model.tokens.mask, model.tokens.end_of_turn
    canvas = torch.where(batch.slots >= 0, mask, end).view(pools)

    captions = slot_logits(model, batch, embeds, settings.cache, settings.cfg_scale)

    def logits_fn(canvas: Tensor) -> Tensor:
        slots = canvas.view(shape)
        show(slots)  # a step begins with what the one before has left
        return captions(slots).view(*pools, -1)

    sampling = settings.sampling(_banned(model.tokens, regions, settings))
    generators = _generators(passes, shape[1]) if settings.temperature > 0 else None
    result = denoise(logits_fn, canvas, mask, settings.rule(regions.budget), sampling, generators)
    show(result.tokens.view(shape))
    return result


def _banned(tokens: Tokens, regions: RegionConfig, settings: DecodeSettings) -> Tensor | None:
    """Tokens that are never written. The released rule bans none: it may write the mask token, and mask it again."""
    if regions.budget == "isolated":
        return tokens.banned_in_captions
    return None if settings.rule(regions.budget).judges_everything else torch.tensor([tokens.mask])


def _generators(passes: Sequence[PreparedPass], most: int) -> list[torch.Generator]:
    """One generator for each of the `most` captions a row of the batch has room for, seeded by its region."""
    seeds = [seed for prepared in passes for seed in (*prepared.seeds, *[0] * (most - len(prepared.seeds)))]
    return [torch.Generator().manual_seed(seed) for seed in seeds]
