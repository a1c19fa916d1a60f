"""On a CUDA device: `make test PYTEST_ARGS="-m gpu"`."""

from pathlib import Path
from typing import Any

import pytest

from pdlm_cli.bench import target_runs
from pdlm_cli.bench.scene_steps import SceneSteps
from tests.bench.support import long_run_points, point
from tests.bench.test_bench_command import bench

pytestmark = pytest.mark.gpu
ON_GPU = ("--device", "cuda")


@pytest.mark.parametrize("arguments", [("throughput", "--regions", "2", "--baseline", "released,ar"), ("memory",)])
def test_a_measurement_knows_its_device(arguments: tuple[str, ...], tmp_path: Path) -> None:
    found = bench(arguments[0], tmp_path, *arguments[1:], *ON_GPU)
    facts = found["facts"]
    assert facts["gpu_gauge"] and facts["driver"] and facts["cuda"]
    assert facts["device_memory_bytes"] > 1e9
    for own in found["points"]:
        assert own["peak_device_bytes"] > 0 and own["peak_gpu_bytes"] > 0
        assert own["watts"] is not None and own["sm_mhz"] is not None


def test_targets_of_a_gpu_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = [point(stage, 8, (2.0,), bench="e2e", axis="stage", regions=50) for stage in ("start", "whole")]
    monkeypatch.setattr(target_runs, "e2e", lambda session: run)
    monkeypatch.setattr(target_runs, "long_run", lambda quick: long_run_points(100, 105))
    monkeypatch.setattr(target_runs, "count_steps", lambda *_: SceneSteps(1.5, 90.0, 90.1, 90.0, 10))
    found: list[dict[str, Any]] = bench("targets", tmp_path, *ON_GPU)["facts"]["targets"]
    assert all(own["figure"] is not None for own in found if own["target"]["where"] == "cuda")
