"""Runs as processes: killed or stopped and resumed, alone and by twos, they end as one that was left alone.

As processes, because kernels round differently for other memory, of which a test process has its own share.
"""

import json
import shutil
import signal
import sys

import pytest
import torch

from tests.training.support import (
    STEPS,
    TORCHRUN,
    assert_equal_weights,
    events,
    finish,
    interrupt,
    interruptible,
    job,
    job_values,
    losses,
    squares,
    start,
    train,
)
from tests.training.test_mixed import mixed_sources

LAST = "checkpoints/checkpoint-3/complete.json"
STOPPED = {
    "plain": {},
    "with all that draws or rounds": {
        "lora": {"rank": 4, "dropout": 0.2},
        "optimizer": {"lr": 3e-3, "freeze": ["vision"]},
        "noise": {"replace": 0.3},
        "precision": "bf16",
        "gradient_checkpointing": True,
    },
}


@pytest.mark.parametrize("kind", STOPPED)
def test_runs_that_are_stopped_and_resumed_equal_one_that_is_not(tmp_path, kind):
    whole, killed, terminated = (tmp_path / name for name in ("whole", "killed", "terminated"))
    signals = {terminated: signal.SIGTERM} | ({killed: signal.SIGKILL} if kind == "plain" else {})
    data = squares(tmp_path / "data", 6, columns=2)
    running = {output: start(interruptible(data, output, **STOPPED[kind]), tmp_path) for output in signals}
    shown = {"report": {"log": 1, "save": 4, "to": ["tensorboard"]}}
    running[whole] = start(interruptible(data, whole, **STOPPED[kind] | shown), tmp_path)
    interrupt(running, signals, step=6)
    finish(running[whole])
    assert list((whole / "tensorboard").glob("events.*"))
    if killed in signals:
        finish(running[killed], code=-9)
    assert "--resume goes on" in finish(running[terminated], code=143)
    for output in signals:
        assert max(losses(output)) < STEPS
        assert not (output / "model").exists()
        running[output] = start(interruptible(data, output, **STOPPED[kind]), tmp_path, "--resume")
    for output in signals:
        assert "checkpoint-" in finish(running[output])
        assert losses(output) == losses(whole)
        assert_equal_weights(whole, output)


@pytest.mark.parametrize("kind", ["plain", "lora"])
def test_two_processes_equal_one_with_twice_the_batch(tmp_path, kind):
    data, changes = squares(tmp_path / "data", 6), {"max_steps": 6}
    if kind == "lora":  # without dropout, which draws for a batch, not for a sample
        changes |= {"lora": {"rank": 4}, "optimizer": {"lr": 3e-3, "freeze": ["vision"]}}
    else:
        sources = [{"path": str(data)}]
        changes["data"] = {"sources": sources, "held_out": sources, "caption_length": 6, "workers": 0}
        changes["report"] = {"log": 1, "save": 100, "eval": 3, "samples": 2, "steps": 3, "to": []}
    running = {
        strategy: start(
            job_values(data, tmp_path / strategy, strategy=strategy, micro_batch=1, **changes),
            tmp_path,
            before=TORCHRUN,
        )
        for strategy in ("ddp", "fsdp2")
    }
    assert train(job(data, tmp_path / "one", micro_batch=4, **changes)) == 0
    for strategy, process in running.items():
        finish(process)
        expected, found = losses(tmp_path / "one"), losses(tmp_path / strategy)
        assert list(found.values()) == pytest.approx(list(expected.values()), rel=1e-4)
        assert_equal_weights(tmp_path / "one", tmp_path / strategy, rtol=0, atol=3e-4)
        for step in (3, 6) if kind == "plain" else ():
            shown = f"samples/step-{step:06d}"
            assert len(list((tmp_path / strategy / shown).glob("*.png"))) == 2
            captions = (tmp_path / strategy / shown / "captions.jsonl").read_text()
            assert captions == (tmp_path / "one" / shown / "captions.jsonl").read_text()


ONE, SHARDED, COPIED = ("ddp", ()), ("fsdp2", TORCHRUN), ("ddp", TORCHRUN)  # strategy, and what starts the processes
MOVES = [(SHARDED, ("fsdp2", ())), (ONE, SHARDED), (COPIED, ONE), (ONE, COPIED)]


@pytest.mark.parametrize("moves", [MOVES, MOVES[:2]], ids=["plain", "lora"])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, moves):
    data = squares(tmp_path / "data", 6, columns=2)
    changes = {"max_steps": 16, "optimizer": {"lr": 1e-3}} | ({} if moves is MOVES else {"lora": {"rank": 4}})

    def begin(output, way, *arguments):
        strategy, before = way
        return start(interruptible(data, output, strategy=strategy, **changes), tmp_path, *arguments, before=before)

    assert train(job(data, tmp_path / "whole", micro_batch=4, **changes)) == 0
    begun = {way: tmp_path / f"begun-{number}" for number, way in enumerate(dict.fromkeys(way for way, _ in moves))}
    for way, output in begun.items():
        running = begin(output, way)
        interrupt({output: running}, {output: signal.SIGTERM}, step=3)
        running.communicate(timeout=300)
        assert running.returncode != 0
        last = max(output.glob("checkpoints/*/complete.json"), key=lambda path: path.stat().st_mtime).parent
        assert (last / "pytorch_model_fsdp_0").exists() == (way is SHARDED)
    outputs = [shutil.copytree(begun[before], tmp_path / f"moved-{at}") for at, (before, _) in enumerate(moves)]
    resumed = [begin(output, after, "--resume") for output, (_, after) in zip(outputs, moves, strict=True)]
    for output, running in zip(outputs, resumed, strict=True):
        assert "checkpoint-" in finish(running)
        assert list(losses(output).values()) == pytest.approx(list(losses(tmp_path / "whole").values()), rel=1e-3)
        assert_equal_weights(tmp_path / "whole", output, rtol=0, atol=1e-3)


def test_sharded_runs_compute_in_bf16_with_activations_recomputed(tmp_path):
    data = squares(tmp_path / "data", 6)
    sources = mixed_sources(tmp_path / "mixed")
    changes = {
        "precision": "bf16",
        "gradient_checkpointing": True,
        "optimizer": {"lr": 1e-3, "freeze": ["vision"]},
        "data": {"sources": [{"path": str(data)}], "held_out": sources, "caption_length": 6, "workers": 0},
        "report": {"log": 1, "save": 100, "eval": 3, "samples": 4, "steps": 3, "to": []},
    }
    running = start(job_values(data, tmp_path / "two", strategy="fsdp2", **changes), tmp_path, before=TORCHRUN)
    assert train(job(data, tmp_path / "one", micro_batch=4, **changes)) == 0
    finish(running)
    expected, found = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(found.values()) == pytest.approx(list(expected.values()), rel=0.03)
    assert torch.tensor(list(found.values())).isfinite().all()
    assert not all((2**12 * loss).is_integer() for loss in found.values())  # rounded to bf16, they would be
    for step in (3, 6):  # captions and answers alike
        assert len(list((tmp_path / f"two/samples/step-{step:06d}").glob("*.png"))) == 4


def test_machines_that_see_different_checkpoints_do_not_train_together(tmp_path):
    first, other = tmp_path / "out-0", tmp_path / "out-1"
    values = job_values(squares(tmp_path / "data", 3), first, max_steps=2, report={"log": 1, "save": 1, "to": []})
    finish(start(values, tmp_path))
    (first / "model").rename(tmp_path / "model")
    shutil.copytree(first, other)
    shutil.rmtree(other / "checkpoints/checkpoint-2")
    own = ("--no-python", "bash", "-c", f'exec "$0" "$@" output={tmp_path}/out-$RANK', sys.executable)
    said = finish(start(values, tmp_path, "--resume", before=(*TORCHRUN, *own)), code=1)
    assert "would go on from step 1 here and from step 2 there" in said


def test_a_run_that_fails_does_not_wait_for_its_workers(tmp_path):
    data = squares(tmp_path / "data", 10)
    for number in range(10):
        (tmp_path / f"data/{number}.png").write_bytes(b"no picture")
    values = interruptible(data, tmp_path / "out")
    assert "samples in a row cannot be used" in finish(start(values, tmp_path), code=4)
    values = interruptible(squares(tmp_path / "more", 10), tmp_path / "other", optimizer={"lr": 1e30, "clip": 0})
    assert "the loss is" in finish(start(values, tmp_path), code=6)


def test_a_step_of_many_forwards_holds_few_files_open(tmp_path):
    values = job_values(squares(tmp_path / "data", 6), tmp_path / "out", batch=24, micro_batch=1, max_steps=1)
    values["data"]["workers"] = 1
    few = ("bash", "-c", 'ulimit -n 160; exec "$0" "$@"', sys.executable)
    finish(start(values, tmp_path, before=few))


def test_bad_samples_are_those_of_all_processes(tmp_path):
    data = squares(tmp_path / "data", 6, columns=2)
    for number in (1, 4):
        (tmp_path / f"data/{number}.png").write_bytes(b"no picture")
    sources = {"sources": [{"path": str(data)}], "caption_length": 6, "workers": 0, "max_bad_share": 1.0}
    changes = {"data": sources, "max_steps": 3, "report": {"log": 1, "save": 3, "to": []}}
    running = start(job_values(data, tmp_path / "two", **changes), tmp_path, before=TORCHRUN)
    assert train(job(data, tmp_path / "one", **changes)) == 0
    finish(running)
    one, two = (json.loads((tmp_path / name / LAST).read_text()) for name in ("one", "two"))
    assert one == two
    assert one["samples_seen"] == 12 and one["bad_samples"] > 0
    told = [
        [event["message"] for event in events(tmp_path / name) if event.get("event") == "bad_sample"]
        for name in ("one", "two")
    ]
    assert sorted(told[0]) == sorted(told[1]) and len(told[0]) == one["bad_samples"]
