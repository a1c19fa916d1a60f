"""Compare this model with recorded tensors, line by line: `python -m tests.parity FOLDER`.

FOLDER is laid out like tests/data/region or tests/data/chat: a `checkpoint` folder beside folders of cases, each with
`image.png`, `case.json`, `expected.safetensors` and, for regions, `mask_<i>.png`. A folder of such folders will do too.
Prints the largest difference of every tensor; exits 1 if one is beyond its limit.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from model.attention import structured_mask
from model.batch import Batch, collate_passes
from model.chat import denoise_answer
from model.decode import denoise_batch
from model.diffusion import add_noise
from model.layout import Kind, Layout, plan_chat, plan_pass
from model.pdlm import PerceptionDLM, PerceptionDLMBase, load_model
from model.preprocess import PreparedImage, PreparedPass, normalise, prepare_image, prepare_pass
from model.settings import ChatSettings, DecodeSettings
from model.tokens import Tokens

# Largest difference allowed; what is not listed must be identical.
LIMITS = {"vision_embeds": 1e-4, "inputs_embeds": 1e-4, "logits_step0": 1e-3, "train_loss": 1e-4}


@dataclass(frozen=True)
class Line:
    """One tensor of one case: the largest difference (inf if shapes differ) and the limit."""

    case: str
    tensor: str
    difference: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.limit

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "EXCEEDED"
        return f"{self.case:24} {self.tensor:18} {self.difference:10.3g}  limit {self.limit:8.3g}  {verdict}"


def compare(folder: Path) -> Iterator[Line]:
    """A line for every expected tensor of every case under `folder`. Raises ValueError if there are none."""
    found = [Path(at) for at, _, files in os.walk(folder, followlinks=True) if "expected.safetensors" in files]
    cases = [(nearest_checkpoint(case), case) for case in sorted(found)]
    if not cases:
        raise ValueError(
            f"{folder}: expected a folder with checkpoint/ beside cases with expected.safetensors, found none"
        )
    model, loaded = None, None
    for source, case in cases:
        if source != loaded:
            model, loaded = load_model(source, dtype=torch.float32, device=torch.device("cpu")), source
        assert model is not None
        expected = load_file(case / "expected.safetensors")
        facts = json.loads((case / "case.json").read_text())
        try:
            ours = (
                regions(model, case, facts, expected) if isinstance(model, PerceptionDLM) else chat(model, case, facts)
            )
        except ValueError as error:  # one case that cannot be run is no reason to leave out the others
            yield Line(case.name, f"not run: {error}", float("inf"), 0.0)
            continue
        for name in sorted(expected):
            yield Line(case.name, name, difference(ours.get(name), expected[name]), LIMITS.get(name, 0.0))


def nearest_checkpoint(case: Path) -> Path:
    """The folder `checkpoint` closest above a case."""
    for parent in case.parents:
        if (parent / "checkpoint" / "config.json").exists():
            return parent / "checkpoint"
    raise ValueError(f"{case}: expected a folder checkpoint beside it or above, found none")


def difference(found: Any, expected: Tensor) -> float:
    """Largest absolute difference; infinite where a tensor is missing or of another shape."""
    if found is None:
        return float("inf")
    ours, theirs = torch.as_tensor(np.asarray(found)).double(), expected.double()
    if ours.shape != theirs.shape:
        return float("inf")
    return float((ours - theirs).abs().max()) if ours.numel() else 0.0


@torch.inference_mode()
def regions(model: PerceptionDLM, case: Path, facts: dict[str, Any], expected: dict[str, Tensor]) -> dict[str, Any]:
    """Every tensor of a region case, as this model computes it."""
    image = prepare_image(Image.open(case / "image.png").convert("RGB"), model.config)
    count, length, tokens = len(list(case.glob("mask_*.png"))), facts["gen_length"], model.tokens
    masks = np.stack([np.asarray(Image.open(case / f"mask_{i}.png").convert("L")) > 0 for i in range(count)])
    prepared = prepare_pass(image, masks, model.config)
    layout = plan_pass(tokens, model.config, tiles=len(image.tiles), captions=[[tokens.mask] * length] * count)
    batch = collate(model, prepared, layout)
    found: dict[str, Any] = {
        **image_tensors(image),
        "area_order": prepared.order,
        "footprint": prepared.footprints,
        "bboxes": prepared.boxes,
        "input_ids": layout.input_ids,
        "input_ids_before": before_replay(layout),
        "mask_positions": layout.slots.flatten(),
        "allowed": structured_mask(batch.kind, batch.region, model.attention)[0, 0],
        "vision_embeds": model.encode(batch),
        "inputs_embeds": model.embed(batch)[0],
        "logits_step0": model(batch).flatten(0, 2),
    }
    for name in expected:
        if name.startswith("tokens_steps"):
            settings = DecodeSettings(steps=int(name.removeprefix("tokens_steps")), length=length)
            result = denoise_batch(model, batch, model.embed(batch), [prepared], settings)
            found[name] = result.tokens.view(count, length)
    return found | (training(model, prepared, expected) if "train_loss" in expected else {})


def collate(model: PerceptionDLM, prepared: PreparedPass, layout: Layout) -> Batch:
    assert model.config.regions is not None
    return collate_passes([prepared], [layout], model.config)


def training(model: PerceptionDLM, prepared: PreparedPass, expected: dict[str, Tensor]) -> dict[str, Any]:
    """The training loss of the recorded captions under the recorded noise.

    What is recorded as t is already the probability (1 - 1e-3) t + 1e-3.
    """
    markers, captions = recorded_captions(model.tokens, expected["train_input_ids"], expected["train_labels"])
    layout = plan_pass(model.tokens, model.config, tiles=len(prepared.image.tiles), captions=captions, markers=markers)
    clean = collate(model, prepared, layout)
    hit = expected["train_masked"].bool()[None]
    noise = add_noise(clean.input_ids, expected["train_t"], hit, model.tokens.mask)
    return {
        "train_input_ids": before_replay(layout),
        "train_labels": torch.where(layout.labelled, layout.input_ids, -100)[once_per_roi(layout)],
        "train_t": expected["train_t"],
        "train_masked": noise.hit[0],
        "train_loss": model(clean, noise)[None],
    }


def recorded_captions(tokens: Tokens, input_ids: Tensor, labels: Tensor) -> tuple[list[int], list[list[int]]]:
    """Markers and captions of a recorded answer: `<|Mask_Cap_i|>`, caption, then the newline or end that closes it."""
    markers: list[int] = []
    captions: list[list[int]] = []
    for token in input_ids[labels != -100].tolist():
        if token in tokens.captions:
            markers.append(tokens.captions.index(token))
            captions.append([])
        else:
            captions[-1].append(token)
    return markers, [caption[:-1] for caption in captions]


def before_replay(layout: Layout) -> Tensor:
    """The ids with one placeholder a region."""
    return layout.input_ids[once_per_roi(layout)]


def once_per_roi(layout: Layout) -> Tensor:
    keep = layout.kind != Kind.ROI
    keep[layout.roi[:, 0]] = True
    return keep


@torch.inference_mode()
def chat(model: PerceptionDLMBase, case: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Every tensor of an image-level case, as this model computes it."""
    image = prepare_image(Image.open(case / "image.png").convert("RGB"), model.config)
    question = facts["question"]
    layout = plan_chat(model.tokens, model.config, tiles=len(image.tiles), question=question, answer=[])
    found: dict[str, Any] = {**image_tensors(image), "input_ids": layout.input_ids}
    runs = {f"tokens_{i}": run for i, run in enumerate(facts.get("runs", []))}
    if "cfg_run" in facts:
        runs["tokens_cfg"] = facts["cfg_run"]
    for name, run in runs.items():
        settings = ChatSettings(
            run["gen_length"], run["block_length"], run["steps"], cfg_scale=run.get("cfg_scale", 0.0)
        )
        found[name] = denoise_answer(model, image, question, settings).tokens[0]
    return found


def image_tensors(image: PreparedImage) -> dict[str, Any]:
    return {"pixel_values": normalise(torch.from_numpy(image.tiles)), "grid": image.grid}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    lines = []
    try:
        for line in compare(Path(arguments[0])):
            print(line, flush=True)
            lines.append(line)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    exceeded = sum(not line.passed for line in lines)
    print(f"{len(lines)} tensors, {exceeded} beyond their limit")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
