"""What twins save: `python -m tests.twin_variance --model CHECKPOINT`.

The gradient of a picture varies with the noise that its captions are shown in, and from picture to picture. For each of
some drawn scenes the gradient is taken under several draws of noise, of its captions alone and with their twins
(`noise.twins`), and both variances are estimated. Prints them, and the cost of a step with and without, as CPU time.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from model.pdlm import PerceptionDLMBase, load_model
from pdlm_cli.training.collate import Collator, TrainingBatch
from pdlm_cli.training.job import ModelStart, Noising, Optimizer, TrainJob
from pdlm_cli.training.job_data import Data, Scenes, Source
from pdlm_cli.training.samples import Sample, Samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("model/tiny"))
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--draws", type=int, default=4, help="of noise, a picture")
    parser.add_argument("--level", type=int, default=4)
    arguments = parser.parse_args()

    model = load_model(arguments.model, dtype=torch.float32, device=torch.device("cpu"))
    scenes = Scenes(pictures=10_000, level=arguments.level, size=model.config.tile_size)
    data = Data(sources=(Source(kind="regions", scenes=scenes),), caption_length=32)
    samples = Samples(data.sources, data, model.config, model.tokens, seed=0)
    pictures = [samples[place] for place in range(arguments.pictures)]
    for twins in (False, True):
        started = time.process_time()
        of_noise, means = 0.0, []
        for sample in pictures:
            drawn = torch.stack(
                [_gradient(model, _batch(model, samples, sample, seed, twins)) for seed in range(arguments.draws)]
            )
            of_noise += float(drawn.var(dim=0).sum()) / len(pictures)
            means.append(drawn.mean(dim=0))
        took = (time.process_time() - started) / len(pictures) / arguments.draws
        # Of what the means differ, some is the chance of the few draws that each is the mean of.
        of_pictures = float(torch.stack(means).var(dim=0).sum()) - of_noise / arguments.draws
        name = "with twins" if twins else "alone"
        print(f"{name:>10}: variance of noise {of_noise:.3f}, of pictures {of_pictures:.3f}, {took:.3f} s a picture")


def _batch(model: PerceptionDLMBase, samples: Samples, sample: Sample, seed: int, twins: bool) -> TrainingBatch:
    job = TrainJob(
        output="",
        model=ModelStart(start="."),
        data=samples.data,
        optimizer=Optimizer(lr=1.0),
        batch=1,
        max_steps=1,
        seed=seed,
        noise=Noising(twins=twins),
    )
    return Collator.of(job, model.config, model.tokens)([sample])


def _gradient(model: PerceptionDLMBase, inputs: TrainingBatch) -> Tensor:
    """Of all parameters, one after the other."""
    model.zero_grad()
    model(inputs.batch, inputs.aim).backward()
    return torch.cat([value.grad.flatten() for value in model.parameters() if value.grad is not None])


if __name__ == "__main__":
    main()
