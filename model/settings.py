"""What decoding can be told, and what of it goes together. Light to import: whoever asks for captions knows whether he
asks for what there is before anything is loaded."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from model.config import PerceptionDLMConfig

SAMPLERS = ("remask", "topk", "threshold", "factor", "entropy")
CACHES = ("auto", "none", "exact", "delayed", "frozen")  # and refresh=K
CHAT_CACHES = ("none", "frozen")  # and refresh=K
PREFIX_KEPT = ("auto", "exact", "delayed")  # which keep prompt, image and RoIs where that is exact


@dataclass(frozen=True)
class Rule:
    """How many tokens a step writes, and which.

    sampler: remask, the published rule, writes every masked slot, then masks the least certain slots again, those
        written long ago too; after step s of S, N (S - 1 - s) // S of a pool's N slots are masked.
        All others keep what they have written. topk writes the most certain slots, an even share in every step. The
        rest writes this share and more: threshold all slots at least `threshold` probable; factor the n most probable
        ones, n the largest with (n + 1) (1 - p_n) < `factor` (Fast-dLLM, 2505.22618); entropy those of the lowest
        entropies as long as their sum, the largest left out, is at most `entropy` nats (EB sampler, 2505.24857).
    stable: a pool is written to its end once that many steps in a row have changed nothing of what is or would be
        written into it; 0 for never.
    """

    sampler: str = "remask"
    steps: int = 32
    threshold: float = 0.9
    factor: float = 0.25
    entropy: float = 0.1
    stable: int = 0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, found {self.sampler!r}")
        if self.steps < 1 or self.stable < 0:
            raise ValueError(f"expected steps >= 1 and stable >= 0, found {self.steps} and {self.stable}")
        if not (0 < self.threshold <= 1 and self.factor > 0 and self.entropy >= 0):  # which NaN is not
            raise ValueError(
                "expected threshold in (0, 1], factor above 0 and entropy >= 0, "
                f"found {self.threshold}, {self.factor} and {self.entropy}"
            )

    @property
    def judges_everything(self) -> bool:
        """Whether slots that are written already are predicted again."""
        return self.sampler == "remask"

    @property
    def judges_by_entropy(self) -> bool:
        """Whether a prediction needs its entropy."""
        return self.sampler == "entropy"

    @property
    def is_even(self) -> bool:
        """Whether the steps that a pool takes are known beforehand."""
        return self.sampler in ("remask", "topk") and not self.stable


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from its logits.

    temperature: 0 takes the most probable token. top_p: smallest set of tokens with this much probability, 1 for all.
    top_k: that many most probable tokens, 0 for all. banned: ids that are never drawn.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    banned: "Tensor | None" = None

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and self.top_k >= 0 and 0 < self.top_p <= 1):  # which NaN is not
            raise ValueError(
                "expected temperature >= 0, top_k >= 0 and top_p in (0, 1], "
                f"found {self.temperature}, {self.top_k} and {self.top_p}"
            )

    def on(self, device: "torch.device") -> "Sampling":
        """The same on a device, so that no step has to copy its tensor there."""
        return self if self.banned is None else replace(self, banned=self.banned.to(device))


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

    def sampling(self, banned: "Tensor | None" = None) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.top_k, banned)

    def streams(self, config: "PerceptionDLMConfig") -> bool:
        """Whether captions that are done can leave their pass, and its keys and values be kept: `CaptionStream`."""
        regions = config.regions
        assert regions is not None
        isolated = regions.attention == regions.positions == regions.budget == "isolated"
        return isolated and self.cache in PREFIX_KEPT and self.cfg_scale == 0

    def check(self, config: "PerceptionDLMConfig") -> None:
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


@dataclass(frozen=True)
class ChatSettings:
    """How answers are decoded.

    length: slots of the answer. block: slots written together before the next ones, 1 for left to right.
    steps: over all blocks, at most. sampler: which slots of a block a step writes, see `Rule`. cache: of prompt and
    picture, which see the answer, so that all but none is approximate. The rest as in `DecodeSettings`."""

    length: int = 128
    block: int = 32
    steps: int = 128
    sampler: str = "topk"
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    cfg_scale: float = 0.0
    cache: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("length", "block", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        check_cache(self.cache, CHAT_CACHES)
        check_scale(self.cfg_scale)
        Rule(self.sampler, steps_of_block(self.length, self.block, self.steps))
        self.sampling()

    def sampling(self, banned: "Tensor | None" = None) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.top_k, banned)


def refresh_every(cache: str) -> int:
    """K of the cache setting "refresh=K"; 0 for any other text."""
    found = re.fullmatch(r"refresh=([1-9][0-9]{0,8})", cache)
    return int(found[1]) if found else 0


def check_cache(cache: str, kinds: Sequence[str]) -> None:
    """kinds: that there are beside refresh=K. Raises ValueError."""
    if cache not in kinds and not refresh_every(cache):
        raise ValueError(f"cache must be one of {', '.join(kinds)} or refresh=K, found {cache!r}")


def check_scale(cfg_scale: float) -> None:
    """Raises ValueError."""
    if not cfg_scale >= 0:  # which NaN is not
        raise ValueError(f"expected cfg_scale >= 0, found {cfg_scale}")


def steps_of_block(length: int, block: int, steps: int) -> int:
    """Denoising steps of each block. Raises ValueError unless blocks fill the length and share the steps evenly."""
    blocks, rest = divmod(length, block)
    if rest or steps % blocks:
        raise ValueError(
            f"expected a block length that divides the answer length and a number of blocks that divides the steps, "
            f"found length {length}, block length {block}, steps {steps}; try block length {length} with {steps} steps"
        )
    return steps // blocks
