"""Samples side by side, noised: what a forward takes, and which samples a process takes in which step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.utils.data import Sampler

from model.batch import Batch, collate_images, collate_passes, with_twins
from model.config import PerceptionDLMConfig
from model.diffusion import Noise
from model.tokens import Tokens
from model.words import Both, Words, caption_words
from pdlm_cli.training.job import TrainJob
from pdlm_cli.training.noising import draw_noise, plain_words
from pdlm_cli.training.samples import Sample, Samples


@dataclass(frozen=True)
class TrainingBatch:
    """A batch of B samples and what is to be learnt of it. tokens: in all layouts, padding not counted. problems: see
    `Sample`."""

    batch: Batch
    aim: Noise | Words | Both
    places: tuple[int, ...]
    tokens: int
    problems: tuple[str, ...]

    def to(self, device: torch.device) -> Self:
        return replace(self, batch=self.batch.to(device), aim=self.aim.to(device))


@dataclass(frozen=True)
class Collator:
    """Makes a TrainingBatch of samples, in a worker process. prior: of words, where they are learnt."""

    job: TrainJob
    config: PerceptionDLMConfig
    tokens: Tokens
    prior: Tensor | None
    words: Tensor

    @classmethod
    def of(cls, job: TrainJob, config: PerceptionDLMConfig, tokens: Tokens, prior: Tensor | None = None) -> Self:
        return cls(job, config, tokens, prior, plain_words(tokens))

    def __call__(self, samples: Sequence[Sample]) -> TrainingBatch:
        layouts = [sample.layout for sample in samples]
        if self.config.regions is None:
            batch = collate_images([image for sample in samples for image in sample.images], layouts, self.config)
        else:
            batch = collate_passes([part for sample in samples for part in sample.parts], layouts, self.config)
        if self.job.noise.twins:
            batch = with_twins(batch)
        places = tuple(sample.place for sample in samples)
        tokens = sum(len(layout.input_ids) for layout in layouts)
        problems = tuple(problem for sample in samples for problem in sample.problems)
        return TrainingBatch(batch, self._aim(batch, samples), places, tokens, problems)

    def _aim(self, batch: Batch, samples: Sequence[Sample]) -> Noise | Words | Both:
        if self.prior is None:
            return self._noise(batch, samples)
        shown = [self._shown(sample, len(self.prior)) for sample in samples]
        if self.job.objective == "words":
            words = caption_words(batch, self.prior, shown=shown)
            assert words is not None
            return words
        words = caption_words(batch, self.prior, self.job.word_share, shown)
        noise = self._noise(batch, samples)
        return noise if words is None else Both(noise, words)

    def _shown(self, sample: Sample, vocabulary: int) -> Tensor | None:
        """(image tokens, V) the words of what each shows."""
        if not sample.shown:
            return None
        words = torch.zeros(len(sample.shown[0][1]), vocabulary, dtype=torch.bool)
        for text, tokens in sample.shown:
            ids = torch.tensor(sorted(set(self.tokens.encode(text))))
            words[torch.from_numpy(tokens).nonzero(), ids] = True
        return words

    def _noise(self, batch: Batch, samples: Sequence[Sample]) -> Noise:
        return draw_noise(
            batch,
            [sample.place for sample in samples],
            self.job.noise,
            seed=self.job.seed,
            step_samples=self.job.batch,
            mask_token=self.tokens.mask,
            words=self.words,
        )


class MicroBatches(Sampler[list[int]]):
    """Places of this process's forwards, in order: step by step, a share of each step's samples.

    Samples of about one size come together, as far as a step has them: little is padded, and a step stays what it was.
    From forward to forward processes take turns at the larger ones, so that none waits long for the others.
    """

    def __init__(self, job: TrainJob, samples: Samples, steps: int, *, rank: int, processes: int) -> None:
        self.job, self.samples, self.steps = job, samples, steps
        self.rank, self.processes = rank, processes
        self.accumulation = job.accumulation(processes)

    def __len__(self) -> int:
        return self.steps * self.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        size, batch = self.job.micro_batch, self.job.batch
        for step in range(self.steps):
            places = sorted(range(step * batch, (step + 1) * batch), key=self.samples.size)
            for forward in range(self.accumulation):
                turn = self.rank if forward % 2 == 0 else self.processes - 1 - self.rank
                first = (forward * self.processes + turn) * size
                yield places[first : first + size]
