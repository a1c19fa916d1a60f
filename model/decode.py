"""From prepared passes to captions."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.batch import Batch, collate_passes
from model.captions import Caption, PassCaptions
from model.config import PerceptionDLMConfig, RegionConfig
from model.denoiser import CACHES, refresh_every, slot_logits
from model.diffusion import Denoised, Sampling, denoise_remask, denoise_reveal
from model.layout import plan_pass
from model.preprocess import PreparedPass
from model.tokens import Tokens

if TYPE_CHECKING:  # the model calls this module
    from model.pdlm import PerceptionDLM

# Told of the slots of every caption of a batch, as they are before the first step and after each: ids by pass and by
# mask of the pass, the mask token where nothing is written.
Watch = Callable[[list[list[list[int]]]], None]
WatchByName = Callable[[dict[int, list[int]]], None]

SAMPLERS = ("remask", "topk", "threshold")
NAN_LOGITS = "the model gave NaN or infinite logits; if it does so often, try another dtype (bf16 or fp32)"


@dataclass(frozen=True)
class DecodeSettings:
    """How captions are decoded.

    steps: denoising steps. length: slots of a caption. prompt: the instruction (None: the one the model learnt).
    sampler: remask judges every slot anew in every step and masks the worst again; topk writes the most confident
        slots for good, evenly over the steps; threshold also writes every slot at least `threshold` probable.
    temperature, top_p, top_k: see `Sampling`. cfg_scale: classifier-free guidance, 0 for none.
    cache: none recomputes everything in every step; exact keeps prompt, image and RoIs (isolated attention only);
        frozen and refresh=K do so where it is approximate, K the steps between recomputations; auto is exact where it
        can be and none elsewhere.
    """

    steps: int = 32
    length: int = 32
    prompt: str | None = None
    sampler: str = "remask"
    threshold: float = 0.9
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    cfg_scale: float = 0.0
    cache: str = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, found {self.sampler!r}")
        if self.cache not in CACHES and not refresh_every(self.cache):
            raise ValueError(f"cache must be one of {', '.join(CACHES)} or refresh=K, found {self.cache!r}")
        if not 0 < self.threshold <= 1 or self.cfg_scale < 0:
            raise ValueError(
                f"expected threshold in (0, 1] and cfg_scale >= 0, found {self.threshold} and {self.cfg_scale}"
            )
        self.sampling()

    def sampling(self, banned: Tensor | None = None) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.top_k, banned)

    def check(self, config: PerceptionDLMConfig) -> None:
        """Raise ValueError if a model of this config cannot decode like this."""
        if config.regions is None:
            raise ValueError("this checkpoint is image-level: it has no region prompts; use a region checkpoint")
        if self.cache == "exact" and config.regions.attention != "isolated":
            raise ValueError(
                f"cache exact needs isolated attention, and this checkpoint has {config.regions.attention} attention, "
                "where prompt and image see the captions; use cache frozen or refresh=K for an approximation, or none"
            )


@torch.inference_mode()
def caption_passes(
    model: "PerceptionDLM", passes: Sequence[PreparedPass], settings: DecodeSettings, watch: Watch | None = None
) -> list[PassCaptions]:
    """Captions of a batch of passes, of any mix of tile and region counts, watched on the way if asked for.

    NaN and infinite logits are looked for on the device in every step, and asked for once, with the tokens.
    """
    settings.check(model.config)
    started = _now(model.device)
    batch = plan_batch(model, passes, settings)
    embeds = model.embed(batch)
    encoded = _now(model.device)
    result = denoise_batch(model, batch, embeds, passes, settings, watch)
    decoded = _now(model.device)

    shape = batch.slots.shape
    tokens, confidence = result.tokens.view(shape).tolist(), result.confidence.exp().view(shape).tolist()
    steps = result.steps.view(len(passes), -1).expand(-1, shape[1]).tolist()
    broken = result.broken.view(len(passes), -1).any(dim=1).tolist()
    output = []
    for row, prepared in enumerate(passes):
        slots = slots_of_masks(prepared)
        captions = [
            cut_caption(model.tokens, tokens[row][slot], confidence[row][slot], steps[row][slot]) for slot in slots
        ]
        output.append(
            PassCaptions(
                captions,
                slots,
                together=len(passes),
                encode_ms=1e3 * (encoded - started),
                decode_ms=1e3 * (decoded - encoded),
                broken=broken[row],
            )
        )
    return output


def plan_batch(model: "PerceptionDLM", passes: Sequence[PreparedPass], settings: DecodeSettings) -> Batch:
    """Passes as a batch on the model's device, all caption slots masked."""
    assert model.config.regions is not None
    blank = [model.tokens.mask] * settings.length
    layouts = [
        plan_pass(
            model.tokens,
            model.config,
            tiles=len(prepared.image.tiles),
            captions=[blank] * len(prepared.order),
            markers=prepared.markers,
            instruction=settings.prompt,
        )
        for prepared in passes
    ]
    return collate_passes(passes, layouts, model.config).to(model.device)


def told_by_name(watch: WatchByName | None, names: Sequence[Sequence[int]]) -> Watch | None:
    """A Watch for a batch whose masks have names, by pass; it passes their slots on by name."""
    if watch is None:
        return None
    return lambda ids: watch(dict(zip(chain(*names), chain(*ids), strict=True)))


def slots_of_masks(prepared: PreparedPass) -> list[int]:
    """The slot of each mask of a pass."""
    return [prepared.order.index(mask) for mask in range(len(prepared.order))]


def cut_caption(tokens: Tokens, ids: Sequence[int], confidence: Sequence[float], steps: int) -> Caption:
    """The caption in a span of slots: what comes before its own first end token."""
    ends = (tokens.end_of_turn, tokens.end_of_text)
    length = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    counted = confidence[: length + 1]
    return Caption(
        text=tokens.decode(ids[:length]),
        tokens=list(ids[:length]),
        finish_reason="eos" if length < len(ids) else "length",
        tokens_generated=length,
        mean_confidence=sum(counted) / len(counted),
        denoise_steps=steps,
    )


def denoise_batch(
    model: "PerceptionDLM",
    batch: Batch,
    embeds: Tensor,
    passes: Sequence[PreparedPass],
    settings: DecodeSettings,
    watch: Watch | None = None,
) -> Denoised:
    """Tokens of all slots; pools are captions or passes, as the checkpoint's step budget says."""
    regions = model.config.regions
    assert regions is not None
    shape = batch.slots.shape
    isolated = regions.budget == "isolated"
    pools = (shape[0] * shape[1], shape[2]) if isolated else (shape[0], shape[1] * shape[2])
    mask, end = model.tokens.mask, model.tokens.end_of_turn
    canvas = torch.where(batch.slots >= 0, mask, end).view(pools)

    captions = slot_logits(model, batch, embeds, settings.cache, settings.cfg_scale)

    def show(canvas: Tensor) -> None:
        if watch is not None:
            rows = canvas.view(shape).tolist()
            watch([[rows[row][slot] for slot in slots_of_masks(prepared)] for row, prepared in enumerate(passes)])

    def logits_fn(canvas: Tensor) -> Tensor:
        show(canvas)  # a step begins with what the one before has left
        return captions(canvas.view(shape)).view(*pools, -1)

    sampling = settings.sampling(_banned(model.tokens, regions, settings))
    generators = _generators(passes, shape[1]) if settings.temperature > 0 else None
    if settings.sampler == "remask":
        result = denoise_remask(logits_fn, canvas, mask, settings.steps, sampling, generators)
    else:
        threshold = settings.threshold if settings.sampler == "threshold" else None
        result = denoise_reveal(logits_fn, canvas, mask, settings.steps, sampling, generators, threshold=threshold)
    show(result.tokens)
    return result


def _banned(tokens: Tokens, regions: RegionConfig, settings: DecodeSettings) -> Tensor | None:
    """Tokens that are never written. The released rule bans none: it may write the mask token, and mask it again."""
    if regions.budget == "isolated":
        return tokens.banned_in_captions
    return None if settings.sampler == "remask" else torch.tensor([tokens.mask])


def _generators(passes: Sequence[PreparedPass], most: int) -> list[torch.Generator]:
    """One generator for each of the `most` captions a row of the batch has room for, seeded by its region."""
    seeds = [seed for prepared in passes for seed in (*prepared.seeds, *[0] * (most - len(prepared.seeds)))]
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def _now(device: torch.device) -> float:
    """Seconds on a monotonic clock, once the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
