"""Whole runs in this process: overfitted, accumulated, refused."""

import json
import os
import shutil
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from model.pdlm import PerceptionDLMBase, load_model
from model.sizes import random_model
from pdlm_cli.errors import ConfigError, DeviceError, InputError
from pdlm_cli.training.arguments import training_arguments
from pdlm_cli.training.collate import Collator
from pdlm_cli.training.meter import Meter
from pdlm_cli.training.pictures import record_image, record_regions, region_pixels
from pdlm_cli.training.run_folder import RunFolder
from pdlm_cli.training.samples import Samples
from pdlm_cli.training.start import recompute_activations
from tests.training.support import (
    assert_equal_weights,
    job,
    losses,
    squares,
    train,
    weights,
)


def test_squares_are_learnt_to_the_letter(tmp_path):
    data = squares(tmp_path / "data", 8, regions=2, columns=2)
    source = {"path": str(data)}
    settings = job(
        data,
        tmp_path / "out",
        batch=8,
        micro_batch=8,
        max_steps=400,
        optimizer={"lr": 4e-3, "betas": [0.9, 0.98], "method": "muon"},
        noise={"times": "stratified"},
        report={"log": 50, "save": 1000, "eval": 200, "samples": 8, "steps": 6, "to": []},
        data={"sources": [source], "held_out": [source], "caption_length": 6, "workers": 0},
    )
    assert train(settings) == 0
    model = load_model(tmp_path / "out/model", dtype=torch.float32, device=torch.device("cpu"))
    assert not model.config.random_weights
    samples = Samples(settings.data.sources, settings.data, model.config, model.tokens, seed=0)
    for place in range(8):
        record = samples.records[0][place]
        picture, masks, captions = picture_of(record, data.parent)
        assert [caption.text for caption in model.caption(picture, masks, steps=6, length=6)] == captions
    shown = tmp_path / "out/samples/step-000400"
    lines = [json.loads(line) for line in (shown / "captions.jsonl").read_text().splitlines()]
    assert all(line["expected"] == line["found"] for line in lines)
    assert len(list(shown.glob("*.png"))) == 8


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


def test_only_the_same_job_goes_on_in_a_folder(tmp_path):
    data = squares(tmp_path / "data", 3)
    settings = job(data, tmp_path / "out", max_steps=1)
    assert train(settings) == 0
    with pytest.raises(ConfigError, match="--resume"):
        train(settings)
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        train(job(data, tmp_path / "out", max_steps=1, optimizer={"lr": 1.0}), resume=True)
    record = tmp_path / "out/job.json"
    written = json.loads(record.read_text())
    del written["word_share"], written["data"]["answer_padding"]  # as an earlier version wrote it
    record.write_text(json.dumps(written))
    assert train(settings, resume=True) == 0  # finished already
    record.write_text(json.dumps(written | {"words": 1}))
    with pytest.raises(ConfigError, match=r"job\.json is of another version of pdlm: unknown field words"):
        train(settings, resume=True)


def test_an_attempt_without_a_checkpoint_keeps_its_log_apart(tmp_path, monkeypatch):
    data, out = squares(tmp_path / "data", 3), tmp_path / "out"
    report = {"log": 1, "save": 9, "to": ["tensorboard"]}
    with monkeypatch.context() as patch:
        patch.setattr(Meter, "step", fail_at(3))
        for rate in (1e-3, 2e-3):
            with pytest.raises(DeviceError, match="unplugged"):
                train(job(data, out, optimizer={"lr": rate}, report=report), resume=rate == 2e-3)
    assert train(job(data, out, max_steps=4, optimizer={"lr": 3e-3}, report=report)) == 0
    assert sorted(path.name for path in (out / "earlier").iterdir()) == ["1", "2"]
    for place, rate, steps in ((out / "earlier/1", 1e-3, 2), (out / "earlier/2", 2e-3, 2), (out, 3e-3, 4)):
        assert json.loads((place / "job.json").read_text())["optimizer"]["lr"] == rate
        assert list(losses(place)) == list(range(1, steps + 1))
        assert len(list((place / "tensorboard").glob("events.*"))) == 1
    log = (out / "log.jsonl").read_text()
    assert train(job(data, out, max_steps=4, optimizer={"lr": 3e-3}, report=report), resume=True) == 0
    assert (out / "log.jsonl").read_text().startswith(log)


def fail_at(step):
    def fail(meter, number):
        if number == step:
            raise DeviceError("unplugged")

    return fail


def test_a_resumed_run_reports_as_its_job_says_now(tmp_path):
    data, out = squares(tmp_path / "data", 3), tmp_path / "out"
    assert train(job(data, out, max_steps=4, report={"log": 2, "save": 2, "keep": 9, "to": []})) == 0
    shutil.rmtree(out / "model")
    shutil.rmtree(out / "checkpoints/checkpoint-4")
    assert train(job(data, out, max_steps=4, report={"log": 1, "save": 1, "keep": 9, "to": []}), resume=True) == 0
    assert list(losses(out)) == [2, 4, 3]
    assert {path.name for path in (out / "checkpoints").iterdir()} == {f"checkpoint-{step}" for step in (2, 3, 4)}


def test_too_many_bad_samples_stop_the_run(tmp_path):
    data = squares(tmp_path / "data", 10)
    for number in range(0, 10, 2):
        (tmp_path / f"data/{number}.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="max_bad_share"):
        train(job(data, tmp_path / "out", max_steps=100))


def test_held_out_samples_that_cannot_be_used_are_said_once(tmp_path):
    data = squares(tmp_path / "data", 4)
    held_out = squares(tmp_path / "held-out", 4)
    (tmp_path / "held-out/1.png").unlink()
    settings = job(
        data,
        tmp_path / "out",
        max_steps=2,
        data={"sources": [{"path": str(data)}], "held_out": [{"path": str(held_out)}], "workers": 0},
        report={"log": 1, "save": 9, "eval": 1, "samples": 8, "steps": 2, "to": []},
    )
    assert train(settings) == 0
    events = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    said = [event["message"] for event in events if event.get("event") == "bad_sample"]
    assert said and len(said) == len(set(said))
    assert all("held-out samples" in message and "missing_image" in message for message in said)


@pytest.mark.parametrize(("name", "message"), [("nonsense", "expected some of"), ("neptune", "is not installed")])
def test_reports_that_go_nowhere_are_refused(tmp_path, name, message):
    data = squares(tmp_path / "data", 2)
    with pytest.raises(ConfigError, match=rf"report\.to: .*{message}"):
        train(job(data, tmp_path / "out", report={"to": [name]}))


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


def test_recomputed_activations_give_the_same_gradients(tmp_path):
    model = random_model("tiny", seed=0).train()
    settings = job(squares(tmp_path, 3), tmp_path)
    samples = Samples(settings.data.sources, settings.data, model.config, model.tokens, seed=0)
    inputs = Collator.of(settings, model.config, model.tokens)([samples[place] for place in range(2)])
    blocks = [model.language_model.model.layers[0], model.vision_model.vision_model["encoder"].layers[0]]
    runs = []
    for block in blocks:
        block.mlp.register_forward_pre_hook(lambda *_: runs.append(1))

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(inputs.batch, inputs.aim).backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    kept = gradients()
    assert len(runs) == len(blocks)
    recompute_activations(model)
    recomputed = gradients()
    assert len(runs) == 3 * len(blocks)  # once more in the forward pass, and once in the backward pass
    for name, value in kept.items():
        torch.testing.assert_close(recomputed[name], value, rtol=1e-5, atol=1e-8, msg=name)


def test_a_model_is_written_in_the_precision_of_its_export(tmp_path):
    data = squares(tmp_path / "data", 4)
    assert train(job(data, tmp_path / "full", max_steps=2)) == 0
    assert train(job(data, tmp_path / "half", max_steps=2, export="bf16")) == 0
    full, half = weights(tmp_path / "full"), weights(tmp_path / "half")
    assert all(torch.equal(half[name], value.to(torch.bfloat16)) for name, value in full.items())
    assert json.loads((tmp_path / "half/model/config.json").read_text())["dtype"] == "bfloat16"


def test_a_trained_model_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, plain, rename = [], os.fsync, Path.rename

    def fsync(handle) -> None:
        done.append(os.stat(handle).st_ino)
        plain(handle)

    def renamed(path, target):
        assert {part.stat().st_ino for part in (path, *path.rglob("*"))} <= set(done)
        done.append(target.name)
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", renamed)
    assert train(job(squares(tmp_path / "data", 3), tmp_path / "out", max_steps=1)) == 0
    assert done[-2:] == ["model", (tmp_path / "out").stat().st_ino]


def test_no_checkpoint_is_written_after_a_gradient_that_is_no_number(tmp_path, monkeypatch):
    plain = PerceptionDLMBase.text_loss
    # sqrt has no slope at 0, so the loss is what it was, and the gradient is not.
    monkeypatch.setattr(PerceptionDLMBase, "text_loss", lambda *given: (loss := plain(*given)) + (loss * 0).sqrt())
    with pytest.raises(DeviceError, match="the norm of the gradient is nan at step 1"):
        train(job(squares(tmp_path / "data", 3), tmp_path / "out", report={"log": 9, "save": 1, "to": []}))
    assert not list((tmp_path / "out/checkpoints").iterdir())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "the device is out of memory; try a smaller micro_batch"),
        (RuntimeError("NCCL error in: NCCLUtils.hpp:317, unhandled cuda error"), "the device failed: NCCL error"),
    ],
)
def test_a_device_that_fails_is_no_bug(tmp_path, monkeypatch, error, message):
    def fail(*_):
        raise error

    monkeypatch.setattr(PerceptionDLMBase, "text_loss", fail)
    with pytest.raises(DeviceError, match=message):
        train(job(squares(tmp_path / "data", 3), tmp_path / "out"))


def test_a_process_of_its_own_takes_one_of_several_gpus(tmp_path, monkeypatch):
    found = TrainingArguments.__dict__["_setup_devices"]

    @cached_property
    def two(self: TrainingArguments) -> torch.device:
        device: torch.device = found.func(self)
        self._n_gpu = 2
        return device

    two.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", two)
    settings = job(squares(tmp_path / "data", 3), tmp_path / "out", micro_batch=2)
    arguments = training_arguments(settings, RunFolder(tmp_path / "out", writer=True), steps=2, processes=1)
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, 2)


def test_shards_of_gradients_are_kept_from_forward_to_forward_not_the_whole(tmp_path):
    for strategy, at_each in {"fsdp2": {"sync_each_batch": True}, "ddp": None}.items():
        settings = job(squares(tmp_path / "data", 3), tmp_path / "out", micro_batch=1, strategy=strategy)
        arguments = training_arguments(settings, RunFolder(tmp_path / "out", writer=True), steps=2, processes=2)
        assert arguments.accelerator_config.gradient_accumulation_kwargs == at_each
