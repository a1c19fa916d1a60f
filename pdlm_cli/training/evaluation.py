"""Held-out samples during training: their loss, and captions beside what they should be."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.chat import answer_layout
from model.config import PerceptionDLMConfig
from model.decode import caption_passes
from model.pdlm import PerceptionDLM, PerceptionDLMBase
from model.preprocess import PreparedPass
from model.settings import ChatSettings, DecodeSettings
from model.tokens import Tokens
from pdlm_cli.logs import log
from pdlm_cli.training.bad_samples import SHOWN
from pdlm_cli.training.collate import Collator
from pdlm_cli.training.job import Noising, TrainJob
from pdlm_cli.training.samples import Sample, Samples
from pdlm_cli.training.show import draw_sample


class HeldOut:
    """The first samples of the held-out sources, the same at every evaluation, and noised the same.

    Answers have all their slots, as when a model is asked: a length that was drawn would tell something of theirs.
    """

    def __init__(self, job: TrainJob, config: PerceptionDLMConfig, tokens: Tokens, prior: Tensor | None = None) -> None:
        """Raises InputError if a source cannot be read or does not fit the model."""
        self.job = replace(job, batch=job.report.samples, micro_batch=1, noise=Noising(times="stratified"))
        data = replace(job.data, sources=job.data.held_out, answer_padding="full")
        self.samples = Samples(data.sources, data, config, tokens, seed=0)
        self._collate = Collator.of(self.job, config, tokens, prior)
        self._told = False

    def _samples(self) -> list[Sample]:
        """What could not be used of them is said once."""
        samples = [self.samples[place] for place in range(self.job.report.samples)]
        problems = dict.fromkeys(problem for sample in samples for problem in sample.problems)
        for problem in islice(problems, 0 if self._told else SHOWN):
            log.warning("skipped of the held-out samples: %s", problem, extra={"facts": {"event": "bad_sample"}})
        self._told = True
        return samples

    @torch.no_grad()
    def losses(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """eval_loss: the mean over the samples, their times spread evenly; and that of each kind if there are two."""
        model.eval()
        found: dict[str, list[float]] = {"eval_loss": [], "eval_loss_regions": [], "eval_loss_chat": []}
        for sample in self._samples():
            inputs = self._collate([sample]).to(device)
            kind = "regions" if isinstance(sample.prepared, PreparedPass) else "chat"
            loss = float(model(inputs.batch, inputs.aim))
            found["eval_loss"].append(loss)
            found[f"eval_loss_{kind}"].append(loss)
        kinds = [name for name, values in found.items() if values]
        return {name: sum(found[name]) / len(found[name]) for name in (kinds if len(kinds) == 3 else kinds[:1])}

    def write_captions(
        self, model: PerceptionDLMBase, folder: Path | None, step: int, cache: str = "auto"
    ) -> dict[str, float]:
        """Caption the samples and write each picture with its regions into `folder`/step-N, or nothing if that is None.
        cache: see `DecodeSettings`.

        Returns eval_exact, the share of texts that are reproduced to the letter (what fits the span of them).
        """
        model.eval()
        out = None if folder is None else folder / f"step-{step:06d}"
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        lines: list[dict[str, Any]] = []
        exact = []
        for place in range(self.job.report.samples):
            sample = self.samples[place]
            wanted, found = self._texts(model, sample, cache)
            exact += [a == b for a, b in zip(wanted, found, strict=True)]
            lines.append({"sample": place, "expected": wanted, "found": found})
            if out is not None:
                draw_sample(sample, model.config, wanted, found).save(out / f"{place:03d}.png")
        if out is not None:
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (out / "captions.jsonl").write_text(text, encoding="utf-8")
        return {"eval_exact": sum(exact) / len(exact)}

    def _texts(self, model: PerceptionDLMBase, sample: Sample, cache: str) -> tuple[list[str], list[str]]:
        """Expected and found texts, in slot order for regions."""
        tokens, data, steps = model.tokens, self.job.data, self.job.report.steps
        if isinstance(sample.prepared, PreparedPass):
            assert isinstance(model, PerceptionDLM)
            wanted = [_fitting(tokens, text, data.caption_length) for text in sample.texts]
            settings = DecodeSettings(steps=steps, length=data.caption_length, cache=cache)
            captions = caption_passes(model, [sample.prepared], settings)[0].captions
            return wanted, [captions[mask].text for mask in sample.prepared.order]
        settings_of_chat = ChatSettings(length=data.answer_length, block=data.answer_length, steps=steps)
        answer = answer_layout(model, sample.images, sample.layout, settings_of_chat)
        return [_fitting(tokens, sample.texts[1], data.answer_length)], [answer.text]


def _fitting(tokens: Tokens, text: str, length: int) -> str:
    return tokens.decode(tokens.encode(text)[:length])
