"""Whole runs: killed and resumed, stopped by a signal, overfitted, on two processes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.pdlm import load_model
from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.signals import StopSignals
from pdlm_cli.training.pictures import record_image, record_regions, region_pixels
from pdlm_cli.training.run import run
from pdlm_cli.training.samples import Samples
from tests.training.support import job, job_values, squares, start

STEPS = 40  # enough for a signal to come in time


def train(settings, *, resume: bool = False) -> int:
    with StopSignals() as stop:
        return run(settings, resume=resume, log_format="plain", stop=stop)


def losses(output: Path) -> dict[int, float]:
    """Loss of every step; a step that a killed run did before its resumption counts as it was done last."""
    events = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return {event["step"]: event["loss"] for event in events if event.get("event") == "step"}


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model/model.safetensors")


def assert_equal_weights(one: Path, other: Path, **tolerance: float) -> None:
    expected, found = weights(one), weights(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **(tolerance or {"rtol": 0, "atol": 0}), msg=name)


def interrupt(running: dict[Path, subprocess.Popen[str]], signals: dict[Path, int], step: int) -> None:
    """Send each run its signal as soon as it has logged a step."""
    waiting = dict(signals)
    for _ in range(6000):
        for output in list(waiting):
            log = output / "log.jsonl"
            if log.exists() and f'"step": {step},' in log.read_text():
                running[output].send_signal(waiting.pop(output))
        if not waiting:
            return
        assert all(process.poll() is None for output, process in running.items() if output in waiting)
        time.sleep(0.01)
    raise AssertionError(f"step {step} did not come")


def interruptible(data: Path, output: Path, *report_to: str) -> dict[str, Any]:
    changes = {"max_steps": STEPS, "report": {"log": 1, "save": 4, "to": list(report_to)}}
    values = job_values(data, output, **changes)
    values["data"]["workers"] = 1
    return values


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == code, stderr
    return stderr


def test_runs_that_are_stopped_and_resumed_equal_one_that_is_not(tmp_path):
    # All as processes: kernels round differently for other memory, of which a test process has its own share.
    whole, killed, terminated = (tmp_path / name for name in ("whole", "killed", "terminated"))
    data = squares(tmp_path / "data", 6, columns=2)
    running = {output: start(interruptible(data, output), tmp_path) for output in (killed, terminated)}
    running[whole] = start(interruptible(data, whole, "tensorboard"), tmp_path)
    interrupt(running, {killed: signal.SIGKILL, terminated: signal.SIGTERM}, step=6)
    finish(running[whole])
    assert list((whole / "tensorboard").glob("events.*"))
    finish(running[killed], code=-9)
    assert "--resume goes on" in finish(running[terminated], code=143)
    for output in (killed, terminated):
        assert max(losses(output)) < STEPS
        assert not (output / "model").exists()
        running[output] = start(interruptible(data, output), tmp_path, "--resume")
    for output in (killed, terminated):
        assert "checkpoint-" in finish(running[output])
        assert losses(output) == losses(whole)
        assert_equal_weights(whole, output)


def test_squares_are_learnt_to_the_letter(tmp_path):
    data = squares(tmp_path / "data", 4, regions=2, columns=2)
    source = {"path": str(data)}
    settings = job(
        data,
        tmp_path / "out",
        batch=8,
        micro_batch=8,
        max_steps=400,
        optimizer={"lr": 2e-3, "betas": [0.9, 0.98]},
        noise={"times": "stratified"},
        report={"log": 50, "save": 1000, "eval": 200, "samples": 4, "steps": 6, "to": []},
        data={"sources": [source], "held_out": [source], "caption_length": 6, "workers": 0},
    )
    assert train(settings) == 0
    model = load_model(tmp_path / "out/model", dtype=torch.float32, device=torch.device("cpu"))
    assert not model.config.random_weights
    samples = Samples(settings.data.sources, settings.data, model.config, model.tokens, seed=0)
    for place in range(4):
        record = samples.records[0][place]
        picture, masks, captions = picture_of(record, data.parent)
        assert [caption.text for caption in model.caption(picture, masks, steps=6, length=6)] == captions
    shown = tmp_path / "out/samples/step-000400"
    lines = [json.loads(line) for line in (shown / "captions.jsonl").read_text().splitlines()]
    assert all(line["expected"] == line["found"] for line in lines)
    assert len(list(shown.glob("*.png"))) == 4


def picture_of(record, folder):
    picture = record_image(record, folder)
    regions = record_regions(record)
    masks = np.stack([region_pixels(segmentation, picture.size) for segmentation, _ in regions])
    return picture, masks, [caption for _, caption in regions]


def test_a_batch_equals_accumulation_of_single_samples(tmp_path):
    data = squares(tmp_path / "data", 6)
    assert train(job(data, tmp_path / "together", batch=4, micro_batch=4)) == 0
    assert train(job(data, tmp_path / "alone", batch=4, micro_batch=1)) == 0
    expected, found = losses(tmp_path / "together"), losses(tmp_path / "alone")
    assert list(found.values()) == pytest.approx(list(expected.values()), rel=1e-4)
    assert_equal_weights(tmp_path / "together", tmp_path / "alone", rtol=0, atol=3e-4)


def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    data = squares(tmp_path / "data", 6)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    running = [
        start(job_values(data, tmp_path / strategy, strategy=strategy), tmp_path, before=torchrun)
        for strategy in ("ddp", "fsdp2")
    ]
    assert train(job(data, tmp_path / "one", micro_batch=4)) == 0
    for strategy, process in zip(("ddp", "fsdp2"), running, strict=True):
        finish(process)
        expected, found = losses(tmp_path / "one"), losses(tmp_path / strategy)
        assert list(found.values()) == pytest.approx(list(expected.values()), rel=1e-4)
        assert_equal_weights(tmp_path / "one", tmp_path / strategy, rtol=0, atol=3e-4)


def test_only_the_same_job_goes_on_in_a_folder(tmp_path):
    data = squares(tmp_path / "data", 3)
    settings = job(data, tmp_path / "out", max_steps=1)
    assert train(settings) == 0
    with pytest.raises(ConfigError, match="--resume"):
        train(settings)
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        train(job(data, tmp_path / "out", max_steps=1, optimizer={"lr": 1.0}), resume=True)
    assert train(settings, resume=True) == 0  # finished already


def test_too_many_bad_samples_stop_the_run(tmp_path):
    data = squares(tmp_path / "data", 10)
    for number in range(0, 10, 2):
        (tmp_path / f"data/{number}.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="max_bad_share"):
        train(job(data, tmp_path / "out", max_steps=100))


def test_frozen_modules_stay_and_checkpointing_changes_nothing(tmp_path):
    data = squares(tmp_path / "data", 4)
    optimizer = {"lr": 1e-2, "freeze": ["vision", "decoder"], "module_lr": {"regions": 1e-3}}
    for name, checkpointing in (("plain", False), ("checkpointed", True)):
        settings = job(data, tmp_path / name, max_steps=3, optimizer=optimizer, gradient_checkpointing=checkpointing)
        assert train(settings) == 0
    assert_equal_weights(tmp_path / "plain", tmp_path / "checkpointed", rtol=0, atol=1e-6)
    assert train(job(data, tmp_path / "short", max_steps=1, optimizer=optimizer)) == 0
    before, after = weights(tmp_path / "short"), weights(tmp_path / "plain")
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"vision_abstractor", "mask_id_embedding"}
