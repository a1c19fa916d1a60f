"""`pdlm bench load` and `pdlm bench e2e`: what is measured in processes of its own."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model import decode
from model.captions import PassCaptions
from model.decode import caption_passes
from model.settings import DecodeSettings
from pdlm_cli.bench import end_to_end, loading
from pdlm_cli.engine import load_engine
from tests.bench.support import bench, session


def test_load_is_measured_in_new_processes(tmp_path: Path) -> None:
    found = bench("load", tmp_path, "--repeats", "1", "--warmup", "0")
    stages = {own["contender"]: own["median"] for own in found["points"]}
    assert list(stages) == ["start and imports", "checkpoint", "first pass", "second pass"]
    assert all(value > 0 for value in stages.values())
    assert all(own["cpu_seconds"] > 0 and own["peak_rss_bytes"] > 50_000_000 for own in found["points"])


def test_what_is_loaded_is_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    settings = DecodeSettings(steps=2, sampler="topk")

    def process(command: list[str], **_: Any) -> Any:
        asked.append(json.loads(command[-1]))
        return SimpleNamespace(
            returncode=0, stdout=json.dumps({stage: {"seconds": 1.0, "used": {}} for stage in loading.STAGES})
        )

    monkeypatch.setattr(subprocess, "run", process)
    loading.load(session(decode=settings, quantize="int8", compiled=True, repeats=1, warmup=0))
    [found] = asked
    assert DecodeSettings(**found["decode"]) == settings
    assert (found["engine"]["quantize"], found["engine"]["compiled"]) == ("int8", True)


def test_a_run_end_to_end_is_taken_apart(tmp_path: Path) -> None:
    found = bench("e2e", tmp_path, "--repeats", "1", "--warmup", "0", "--pictures", "2")
    stages = {own["contender"]: own["median"] for own in found["points"]}
    device = sum(stages[name] for name in ("encode", "prefill", "decode", "idle"))
    assert device == pytest.approx(stages["whole"], rel=0.05)
    assert found["points"][-1]["regions"] >= 4
    assert "tiles" not in found["facts"] and "regions" not in found["facts"]  # the drawn pictures have their own
    assert stages["write"] > 0
    *parts, whole = found["points"]
    assert whole["cpu_seconds"] > 1  # in other processes, which import torch
    assert whole["peak_rss_bytes"] > 200_000_000
    assert all(own["cpu_seconds"] is own["peak_rss_bytes"] is None for own in parts)


def test_no_more_passes_are_tried_at_once_than_a_run_has_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def counted(model: Any, passes: Any, settings: Any) -> list[PassCaptions]:
        tried.append(len(passes))
        return caption_passes(model, passes, settings)

    engine = replace(load_engine(None, "cpu", "fp32", DecodeSettings(steps=2, length=4)), lanes=2)
    assert engine.batch_size == 8  # of a call, on CUDA
    monkeypatch.setattr(end_to_end, "load_engine", lambda *_, **__: engine)
    monkeypatch.setattr(decode, "caption_passes", counted)
    own = session()
    end_to_end._draw(tmp_path, 4, 96, own)
    assert 0 <= end_to_end._prefill_share(tmp_path, "unused", own) <= 1
    assert set(tried) == {2}
