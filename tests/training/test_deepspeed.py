"""DeepSpeed itself, two processes on CPU: ZeRO-2 and 3 train what one process does, and go on where they stopped."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from model.pdlm import load_model
from pdlm_cli.errors import ConfigError
from pdlm_cli.training.arguments import training_arguments
from pdlm_cli.training.checkpoints import TRAINED
from pdlm_cli.training.run_folder import RunFolder
from pdlm_cli.training.zero import check_deepspeed
from tests.cli.support import REPOSITORY
from tests.training.support import (
    TORCHRUN,
    assert_equal_weights,
    finish,
    job,
    job_values,
    losses,
    squares,
    start,
    train,
    weights,
)

FILES = {stage: str(REPOSITORY / f"jobs/deploy/deepspeed/zero{stage}.json") for stage in (2, 3)}
RATES = {"lr": 3e-3, "freeze": ["vision"], "module_lr": {"connector": 1e-2}, "clip": 0.5, "weight_decay": 0.1}
KINDS = {
    "zero2": (2, {"lora": {"rank": 4}, "optimizer": {"lr": 3e-3}}),
    "zero3": (3, {"optimizer": RATES}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_zero_equals_one_process_and_goes_on_from_its_checkpoint(tmp_path, kind):
    stage, changes = KINDS[kind]
    data = squares(tmp_path / "data", 6)
    sources = [{"path": str(data)}]
    changes |= {
        "data": {"sources": sources, "held_out": sources, "caption_length": 6, "workers": 0},
        "report": {"log": 1, "save": 2, "eval": 2, "samples": 2, "steps": 2, "to": []},
        "max_steps": 4,
    }
    zero, resumed, one = (tmp_path / name for name in ("zero", "resumed", "one"))
    values = job_values(data, zero, micro_batch=1, deepspeed=FILES[stage], **changes)
    running = start(values, tmp_path, before=TORCHRUN)
    assert train(job(data, one, micro_batch=4, **changes)) == 0
    finish(running)
    assert list(losses(zero).values()) == pytest.approx(list(losses(one).values()), rel=1e-4)
    assert_equal_weights(one, zero, rtol=0, atol=3e-4)
    for step in (2, 4):
        shown = f"samples/step-{step:06d}"
        assert len(list((zero / shown).glob("*.png"))) == 2
        assert (zero / shown / "captions.jsonl").read_text() == (one / shown / "captions.jsonl").read_text()
    load_model(zero / "model", dtype=torch.float32, device=torch.device("cpu"))

    checkpoint = resumed / "checkpoints/checkpoint-2"
    shutil.copytree(zero / "checkpoints/checkpoint-2", checkpoint)
    (resumed / "job.json").write_text(
        json.dumps(json.loads((zero / "job.json").read_text()) | {"output": str(resumed)})
    )
    assert (checkpoint / TRAINED).exists() == ("lora" in changes)
    finish(start(values | {"output": str(resumed)}, tmp_path, "--resume", before=TORCHRUN))
    assert losses(resumed) == {step: loss for step, loss in losses(zero).items() if step > 2}
    assert_equal_weights(zero, resumed)

    settings = job(data, resumed, micro_batch=1, deepspeed=FILES[stage], **changes)
    with pytest.raises(ConfigError, match="goes on with 2 processes, as it began; found 1"):
        check_deepspeed(settings, checkpoint, processes=1)
    shutil.rmtree(resumed / "model")
    with pytest.raises(ConfigError, match="deepspeed differ"):
        train(job(data, resumed, micro_batch=1, **changes), resume=True)


def test_zero3_computes_in_bf16_over_fp32_weights_with_activations_recomputed(tmp_path):
    data = squares(tmp_path / "data", 6)
    changes = {"precision": "bf16", "gradient_checkpointing": True, "export": "bf16", "max_steps": 3}
    two, one = tmp_path / "two", tmp_path / "one"
    running = start(job_values(data, two, deepspeed=FILES[3], **changes), tmp_path, before=TORCHRUN)
    assert train(job(data, one, micro_batch=4, **changes)) == 0
    finish(running)
    assert list(losses(two).values()) == pytest.approx(list(losses(one).values()), rel=0.03)
    kept = load_file(two / "checkpoints/checkpoint-3/model.safetensors")
    for name, value in weights(two).items():
        assert kept[name].dtype == torch.float32
        assert torch.equal(value, kept[name].to(torch.bfloat16))


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_where_there_is_no_gpu_processes_share_a_batch_on_the_cpu(tmp_path, device):
    settings = job(squares(tmp_path / "data", 3), tmp_path / "out", device=device)
    arguments = training_arguments(settings, RunFolder(tmp_path / "out", writer=True), steps=2, processes=2)
    assert arguments.use_cpu == (device == "cpu" or not torch.accelerator.is_available())


def test_what_deepspeed_cannot_do_is_said(tmp_path, monkeypatch):
    data = squares(tmp_path / "data", 3)

    def begin(configuration: str, **changes) -> None:
        train(job(data, tmp_path / "out", deepspeed=configuration, **changes))

    with pytest.raises(ConfigError, match="expected torchrun to start it"):
        begin(FILES[2])
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        begin("none.json")
    wrong = tmp_path / "wrong.json"
    for text, message in {
        "[]": "should hold an object, found list",
        "{}": r"expected zero_optimization\.stage 1, 2 or 3",
        '{"zero_optimization": {"stage": 2}, "bf16": {"enabled": true}}': "expected the job to say bf16",
        '{"zero_optimization": {"stage": 2}, "optimizer": {"type": "Adam"}}': "expected the job to say optimizer",
        '{"zero_optimization": {"stage": 2}, "train_batch_size": 8}': "expected the job to say train_batch_size",
    }.items():
        wrong.write_text(text)
        with pytest.raises(ConfigError, match=message):
            begin(str(wrong))
    with pytest.raises(ValueError, match="deepspeed: expected either this or strategy fsdp2"):
        begin(FILES[2], strategy="fsdp2")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'pdlm\[deepspeed\]'"):
        begin(FILES[2])
