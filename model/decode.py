"""From prepared passes to captions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.batch import Batch, collate_passes, plan_blank
from model.captions import PassCaptions, cut_caption
from model.clock import now
from model.config import PerceptionDLMConfig, RegionConfig
from model.denoiser import CACHES, PREFIX_KEPT, check_cache, check_scale, slot_logits
from model.layout import check_room, plan_pass
from model.preprocess import PreparedPass
from model.rules import Denoised, Rule, denoise
from model.sampling import Sampling
from model.stream import CaptionStream, Show
from model.tokens import Tokens

if TYPE_CHECKING:  # the model calls this module
    from model.pdlm import PerceptionDLM

# Told of the slots of every caption, as they are before the first step and after each: ids by pass and by mask of the
# pass, the mask token where nothing is written.
Watch = Callable[[list[list[list[int]]]], None]

NAN_LOGITS = "the model gave NaN or infinite logits; if it does so often, try another dtype (bf16 or fp32)"


@dataclass(frozen=True)
class DecodeSettings:
    """How captions are decoded.

    steps: denoising steps, at most. length: slots of a caption. prompt: the instruction (None: the one the model
    learnt). sampler, threshold, factor, entropy, stable: see `Rule`; sampler auto is factor where every caption has
    a budget of its own, which loses nothing there (docs/decoding.md), and the published remask elsewhere.
    temperature, top_p, top_k: see `Sampling`. cfg_scale: classifier-free guidance, 0 for none.
    cache: none recomputes everything in every step; exact keeps prompt, image and RoIs (isolated attention only);
        frozen and refresh=K keep them where that is approximate, K the steps between recomputations; delayed is exact,
        but keeps a token too once a step has read it, which is approximate (dKV-Cache, 2505.15781); auto is exact where
        it can be and none elsewhere.
    """

    steps: int = 32
    length: int = 32
    prompt: str | None = None
    sampler: str = "auto"
    threshold: float = Rule.threshold
    factor: float = Rule.factor
    entropy: float = Rule.entropy
    stable: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    cfg_scale: float = 0.0
    cache: str = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        check_cache(self.cache, CACHES)
        check_scale(self.cfg_scale)
        if self.cache == "delayed" and (self.sampler == "remask" or self.cfg_scale > 0):
            raise ValueError(
                "cache delayed keeps what is written, so it goes with topk, threshold, factor and entropy, not with "
                "remask, which may take tokens back, nor with cfg_scale; use cache exact"
            )
        self.rule("isolated")
        self.sampling()

    def rule(self, budget: str) -> Rule:
        """budget: of the checkpoint, see `RegionConfig`."""
        usual = "factor" if budget == "isolated" else "remask"
        sampler = usual if self.sampler == "auto" else self.sampler
        return Rule(sampler, self.steps, self.threshold, self.factor, self.entropy, self.stable)

    def sampling(self, banned: Tensor | None = None) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.top_k, banned)

    def streams(self, config: PerceptionDLMConfig) -> bool:
        """Whether captions that are done can leave their pass, and its keys and values be kept: `CaptionStream`."""
        regions = config.regions
        assert regions is not None
        isolated = regions.attention == regions.positions == regions.budget == "isolated"
        return isolated and self.cache in PREFIX_KEPT and self.cfg_scale == 0

    def check(self, config: PerceptionDLMConfig) -> None:
        """Raise ValueError if a model of this config cannot decode like this."""
        if config.regions is None:
            raise ValueError("this checkpoint is image-level: it has no region prompts; use a region checkpoint")
        attention = config.regions.attention
        if self.cache in ("exact", "delayed") and attention != "isolated":
            raise ValueError(
                f"cache {self.cache} needs isolated attention, and this checkpoint has {attention} attention, "
                "where prompt and image see the captions; use cache frozen or refresh=K for an approximation, or none"
            )
        if self.cache == "delayed" and not self.streams(config):
            raise ValueError(
                "cache delayed needs positions and budget isolated, found "
                f"{config.regions.positions} and {config.regions.budget}; use cache exact"
            )

    def check_prompt(
        self,
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
        blank = [[tokens.mask] * self.length] * regions
        tiles = config.min_tiles if tiles is None else tiles
        layout = plan_pass(tokens, config, tiles=tiles, captions=blank, instruction=instruction or self.prompt)
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
