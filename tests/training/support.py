"""Pictures of coloured squares with masks and captions, and jobs small enough to train in seconds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from pdlm_cli.signals import StopSignals
from pdlm_cli.training.job import TrainJob
from pdlm_cli.training.run import run
from pdlm_cli.training.typed_fields import read_settings
from tests.cli.support import REPOSITORY, rle

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (30, 60, 220), "yellow": (230, 220, 40)}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
STEPS = 40  # of a run that is to be interrupted: enough for a signal to come in time
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def squares(folder: Path, pictures: int, *, regions: int = 3, columns: int = 3) -> Path:
    """A training JSON of `pictures` pictures with up to `regions` squares each, on a grid of two rows."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(pictures):
        pixels = np.full((64, 32 * columns, 3), 128, dtype=np.uint8)
        masks, captions = [], []
        for place in rng.permutation(2 * columns)[: 1 + (number % regions)]:
            name = str(rng.choice(list(COLOURS)))
            x, y, side = 32 * int(place % columns) + 4, 32 * int(place // columns) + 4, int(rng.integers(16, 26))
            mask = np.zeros(pixels.shape[:2], dtype=bool)
            mask[y : y + side, x : x + side] = True
            pixels[mask] = COLOURS[name]
            masks.append(rle(mask))
            captions.append(f"{name} {'top' if y < 32 else 'low'} {x // 32}")
        Image.fromarray(pixels).save(folder / f"{number}.png")
        records.append({"image": f"{number}.png", "mask_rles": masks, "captions": captions})
    file = folder / "squares.json"
    file.write_text(json.dumps(records))
    return file


def job_values(file: Path, output: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "output": str(output),
        "model": {
            "random": {"vision": [32, 64, 3, 2], "text": [48, 96, 2, 2], "tile": 64, "patch": 8, "vocabulary": 384},
            "regions": {"max_regions": 4, "roi_size": 2},
        },
        "data": {"sources": [{"path": str(file)}], "caption_length": 6, "workers": 0},
        "optimizer": {"lr": 3e-3},
        "batch": 4,
        "micro_batch": 2,
        "max_steps": 6,
        "precision": "fp32",
        "device": "cpu",
        "report": {"log": 1, "save": 100, "to": []},
    }
    return values | changes


def job(file: Path, output: Path, **changes: Any) -> TrainJob:
    return read_settings(TrainJob, job_values(file, output, **changes))


def start(values: dict[str, Any], folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """`pdlm train` as a process."""
    file = folder / f"job-{Path(values['output']).name}.yaml"
    file.write_text(yaml.safe_dump(values))
    command = [
        *(before or (sys.executable,)),
        "-m",
        "pdlm_cli",
        "train",
        str(file),
        "--log-format",
        "plain",
        *arguments,
    ]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def train(settings, *, resume: bool = False) -> int:
    with StopSignals() as stop:
        return run(settings, resume=resume, log_format="plain", stop=stop)


def losses(output: Path) -> dict[int, float]:
    """Loss of every step; a step that a killed run did before its resumption counts as it was done last."""
    return {event["step"]: event["loss"] for event in events(output) if event.get("event") == "step"}


def events(output: Path) -> list[dict[str, Any]]:
    """The log of a run."""
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model/model.safetensors")


def assert_equal_weights(one: Path, other: Path, **tolerance: float) -> None:
    expected, found = weights(one), weights(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **(tolerance or {"rtol": 0, "atol": 0}), msg=name)


def interrupt(running: dict[Path, subprocess.Popen[str]], signals: dict[Path, int], step: int) -> None:
    """Send each run its signal as soon as it has logged a step."""
    waiting, patience = dict(signals), time.monotonic() + 300
    while time.monotonic() < patience:
        for output in list(waiting):
            log = output / "log.jsonl"
            if log.exists() and f'"step": {step},' in log.read_text():
                running[output].send_signal(waiting.pop(output))
        if not waiting:
            return
        assert all(process.poll() is None for output, process in running.items() if output in waiting)
        time.sleep(0.01)
    raise AssertionError(f"step {step} did not come")


def interruptible(data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    values = job_values(data, output, **{"max_steps": STEPS, "report": {"log": 1, "save": 4, "to": []}} | changes)
    values["data"]["workers"] = 1
    return values


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == code, stderr
    return stderr
