"""Who captions a picture: this program, and what it is compared with. Each says how long it took, and of what work.

pdlm        all regions of a picture in as few passes as there can be, in one batch
sequential  one region a pass, one pass after the other
released    the published loop as it is (see `baselines`), one pass after the other
ar          the same decoder left to right with a cache, a region at a time; the picture is encoded for each, as
            region prompts are added to its patches
uncached    the published semantics in this program: logits at the slots alone and in fp32, all else anew a step
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from model.clock import now
from model.settings import PREFIX_KEPT, DecodeSettings
from pdlm_cli.bench.baselines import released_steps, write_left_to_right
from pdlm_cli.bench.roofline import Counts, Lengths, Phase, autoregressive, cached_pass, recomputed_pass
from pdlm_cli.bench.subject import Subject, causal_twin, released_twin
from pdlm_cli.bench.workload import Scene

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from model.pdlm import PerceptionDLM
    from model.preprocess import PreparedPass

BASELINES = ("released", "sequential", "ar")


@dataclass(frozen=True)
class Outcome:
    """Of one picture. seconds, encode_seconds, steps, measured: as in `Point`."""

    seconds: float
    encode_seconds: float
    steps: float
    measured: float = 1.0


@dataclass(frozen=True)
class Part:
    """How much is run where the rest is the very same work again: steps of loops that recompute everything, regions of
    who takes one at a time. None for all."""

    steps: int | None = None
    regions: int | None = None


@dataclass(frozen=True)
class Contender:
    """caption: how long a scene takes. phases: the work of it, given the steps that it took."""

    name: str
    caption: Callable[[Scene], Outcome]
    phases: Callable[[Scene, float], list[Phase]]


class Contenders:
    """All that can be made of one model with the same settings."""

    def __init__(self, subject: Subject, settings: DecodeSettings, part: Part = Part()) -> None:
        self.model, self.settings, self.part = subject.model, settings, part
        self.compiled = subject.compile_s is not None
        self.counts = Counts(subject.model.config, subject.model.dtype.itemsize, subject.quantize)
        regions = subject.model.config.regions
        assert regions is not None
        self.most = regions.max_regions

    def by_name(self, name: str) -> Contender:
        """name: pdlm, or one of BASELINES."""
        if name == "sequential":
            return self.one_by_one(1)
        return {"pdlm": self.together, "released": self.released, "ar": self.left_to_right}[name]()

    def together(self, settings: "DecodeSettings | None" = None) -> Contender:
        settings = settings or self.settings

        def caption(scene: Scene) -> Outcome:
            return self._decode(self.model, scene.passes(self.model.config, self.most), settings)

        def phases(scene: Scene, steps: float) -> list[Phase]:
            return self._cached(scene, self.most, steps, settings, together=True)

        return Contender("pdlm", caption, phases)

    def one_by_one(self, regions: int, settings: "DecodeSettings | None" = None) -> Contender:
        """Passes of that many regions, one after the other."""
        settings = settings or self.settings

        def caption(scene: Scene) -> Outcome:
            passes = scene.passes(self.model.config, regions)
            run = passes[: self.part.regions]
            return _times([self._decode(self.model, [own], settings) for own in run], len(passes))

        return Contender("sequential", caption, lambda scene, steps: self._cached(scene, regions, steps, settings))

    def uncached(self) -> Contender:
        steps = self.part.steps or self.settings.steps
        settings = replace(self.settings, steps=steps, cache="none")

        def caption(scene: Scene) -> Outcome:
            passes = scene.passes(self.released_model.config, self.most)
            outcomes = [self._decode(self.released_model, [own], settings) for own in passes]
            return _stretched(_times(outcomes, len(outcomes)), steps, self.settings.steps)

        return Contender("uncached", caption, lambda scene, steps: self._recomputed(scene, everywhere=False))

    def released(self) -> Contender:
        from model.decode import plan_batch

        count = self.part.steps or self.settings.steps

        def run(prepared: "PreparedPass") -> Outcome:
            import torch

            model, steps = self.released_model, self.settings.steps
            with torch.inference_mode():
                started = now(model.device)
                batch = plan_batch(model, [prepared], self.settings)
                embeds = model.embed(batch)
                encoded = now(model.device)
                canvas = torch.full_like(batch.slots.flatten(), model.tokens.mask)
                released_steps(model, batch, embeds, canvas, steps, count)
            return Outcome(now(model.device) - started, encoded - started, count)

        def caption(scene: Scene) -> Outcome:
            passes = scene.passes(self.released_model.config, self.most)
            outcomes = [run(own) for own in passes]
            return _stretched(_times(outcomes, len(outcomes)), count, self.settings.steps)

        return Contender("released", caption, lambda scene, steps: self._recomputed(scene, everywhere=True))

    def left_to_right(self) -> Contender:
        from model.decode import plan_batch

        length = self.settings.length

        def run(prepared: "PreparedPass") -> Outcome:
            import torch

            with torch.inference_mode():
                started = now(self.model.device)
                batch = plan_batch(self.model, [prepared], self.settings)
                prompt = self.model.embed(batch)[:, : batch.prefix]
                encoded = now(self.model.device)
                write_left_to_right(self.causal_model, prompt, length)
            return Outcome(now(self.model.device) - started, encoded - started, length)

        def caption(scene: Scene) -> Outcome:
            passes = scene.passes(self.model.config, 1)
            return _times([run(own) for own in passes[: self.part.regions]], len(passes))

        def phases(scene: Scene, steps: float) -> list[Phase]:
            each = autoregressive(self.counts, self.lengths(self.model, scene.passes(self.model.config, 1)[0]), length)
            return each * len(scene.masks)

        return Contender("ar", caption, phases)

    @cached_property
    def released_model(self) -> "PerceptionDLM":
        return released_twin(self.model)

    @cached_property
    def causal_model(self) -> "LlamaForCausalLM":
        from model.compiled import compile_decoder

        twin = causal_twin(self.model)
        if self.compiled:  # a copy is not
            compile_decoder(twin.model)
        return twin

    def cached(self, lengths: Lengths, steps: float, settings: DecodeSettings, passes: int = 1) -> list[Phase]:
        """Of a batch of passes of these lengths."""
        again, delayed = settings.rule("isolated").judges_everything, settings.cache == "delayed"
        return cached_pass(self.counts, lengths, round(steps), passes, again=again, delayed=delayed)

    def lengths(self, model: "PerceptionDLM", prepared: "PreparedPass") -> Lengths:
        from model.decode import plan_batch

        batch = plan_batch(model, [prepared], self.settings)
        answer = batch.input_ids.shape[1] - batch.prefix
        return Lengths(len(prepared.image.tiles), batch.prefix, answer, batch.slots.numel())

    def _decode(self, model: "PerceptionDLM", passes: Sequence["PreparedPass"], settings: DecodeSettings) -> Outcome:
        from model.decode import caption_passes

        started = now(model.device)
        found = caption_passes(model, passes, settings)
        seconds = now(model.device) - started
        steps = [caption.denoise_steps for own in found for caption in own.captions]
        encode = sum(own.encode_share_ms for own in found) / 1e3
        return Outcome(seconds, encode, sum(steps) / len(steps))

    def _cached(
        self, scene: Scene, regions: int, steps: float, settings: DecodeSettings, *, together: bool = False
    ) -> list[Phase]:
        """Of passes of that many regions; as many as are alike are one batch, if together."""
        if self.model.attention != "isolated" or settings.cache not in PREFIX_KEPT:
            return self._recomputed(scene, everywhere=False)
        phases: list[Phase] = []
        passes = scene.passes(self.model.config, regions)
        for size in sorted({len(own.order) for own in passes}):
            alike = [own for own in passes if len(own.order) == size]
            lengths = self.lengths(self.model, alike[0])
            batched = self.cached(lengths, steps, settings, passes=len(alike) if together else 1)
            phases += batched if together else batched * len(alike)
        return phases

    def _recomputed(self, scene: Scene, *, everywhere: bool) -> list[Phase]:
        passes = scene.passes(self.released_model.config, self.most)
        lengths = [self.lengths(self.released_model, own) for own in passes]
        steps = self.settings.steps
        return [phase for own in lengths for phase in recomputed_pass(self.counts, own, steps, everywhere=everywhere)]


def _times(outcomes: Sequence[Outcome], count: int) -> Outcome:
    """Of `count` passes of which some were run."""
    run = len(outcomes)
    share = count / run
    return Outcome(
        seconds=share * sum(own.seconds for own in outcomes),
        encode_seconds=share * sum(own.encode_seconds for own in outcomes),
        steps=sum(own.steps for own in outcomes) / run,
        measured=run / count,
    )


def _stretched(outcome: Outcome, run: int, steps: int) -> Outcome:
    """Of which `run` steps were run, and nothing but encoding is not part of a step."""
    loop = (outcome.seconds - outcome.encode_seconds) * steps / run
    return Outcome(outcome.encode_seconds + loop, outcome.encode_seconds, steps, run / steps)
