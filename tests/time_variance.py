"""What stratified time steps save: `python -m tests.time_variance --model CHECKPOINT`.

The loss and the gradient of a step vary with its samples and which of their labels are hit, and with its times. Times
drawn one from each part of [0, 1] (stratified) leave out what varies from part to part, and nothing else. Both shares
are measured apart, because the whole varies too wildly for a few hundred steps to tell: a label that is hit at a time
near 0 has a weight of up to 1000. For each part of the time several batches of drawn scenes are noised at times within
it; the variance between batches of one part stays, that between parts goes. Prints a table, then one JSON line.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from model.diffusion import add_noise, draw_hits, mask_probability
from model.pdlm import load_model
from pdlm_cli.training.collate import Collator
from pdlm_cli.training.job import ModelStart, Optimizer, TrainJob
from pdlm_cli.training.job_data import Data, Scenes, Source
from pdlm_cli.training.samples import Samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("model/tiny"))
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--batches", type=int, default=8, help="a part")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--level", type=int, default=2)
    arguments = parser.parse_args()
    parts, count, size = arguments.parts, arguments.batches, arguments.batch

    model = load_model(arguments.model, dtype=torch.float32, device=torch.device("cpu"))
    kind = "chat" if model.config.regions is None else "regions"
    source = Source(kind=kind, scenes=Scenes(pictures=10_000, level=arguments.level))
    data = Data(sources=(source,), caption_length=32, answer_length=32)
    job = TrainJob(
        output="", model=ModelStart(start="."), data=data, optimizer=Optimizer(lr=1.0), batch=size, max_steps=1
    )
    samples = Samples(data.sources, data, model.config, model.tokens, seed=0)
    collate = Collator.of(job, model.config, model.tokens)
    batches = [collate([samples[place] for place in range(i * size, (i + 1) * size)]).batch for i in range(count)]
    generator = torch.Generator().manual_seed(0)

    losses = torch.zeros(parts, count)
    means: list[Tensor] = []  # gradient of each part
    stays = {"loss": 0.0, "gradient": 0.0}  # variance of one sample, the part given
    print(f"{'times':>13}{'loss':>8}{'its variance':>14}{'gradient^2':>12}{'its variance':>14}")
    for part in range(parts):
        total, squares = torch.zeros(()), 0.0
        for number, batch in enumerate(batches):
            probability = mask_probability((part + torch.rand(size, generator=generator)) / parts)
            hit = draw_hits(batch.labelled, probability, generator)
            model.zero_grad()
            loss = model(batch, add_noise(batch.input_ids, probability, hit, model.tokens.mask))
            loss.backward()
            gradient = torch.cat([value.grad.flatten() for value in model.parameters() if value.grad is not None])
            losses[part, number] = loss.item()
            total = total + gradient
            squares += float(gradient.square().sum())
        means.append(total / count)
        signal = float(means[-1].square().sum())
        of_loss, of_gradient = size * float(losses[part].var()), size * (squares - count * signal) / (count - 1)
        stays["loss"] += of_loss / parts
        stays["gradient"] += of_gradient / parts
        times = f"{part / parts:.3f}-{(part + 1) / parts:.3f}"
        print(f"{times:>13}{losses[part].mean():>8.3f}{of_loss:>14.3f}{signal:>12.3f}{of_gradient:>14.3f}", flush=True)

    stacked = torch.stack(means)
    middle = stacked.mean(dim=0)
    # Of what the parts' means differ, some is the chance of the few batches that each is the mean of.
    chance = (1 - 1 / parts) / (size * count)
    goes = {
        "loss": float(losses.mean(dim=1).var(correction=0)) - chance * stays["loss"],
        "gradient": float((stacked - middle).square().sum() / parts) - chance * stays["gradient"],
    }
    for name in stays:
        print(f"{name}: stays {stays[name]:.3f}, goes {goes[name]:.3f}: 1 / {1 + goes[name] / stays[name]:.2f} is left")
    print(json.dumps({**vars(arguments), "model": str(arguments.model), "stays": stays, "goes": goes}))


if __name__ == "__main__":
    main()
