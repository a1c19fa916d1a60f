"""`pdlm bench`, every subcommand, with a tiny model."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from model.settings import DecodeSettings
from pdlm_cli.bench import contenders, long_run, target_runs
from pdlm_cli.bench.points import read_points
from pdlm_cli.bench.run import MEASUREMENTS
from pdlm_cli.bench.scene_steps import SceneSteps, count_steps
from pdlm_cli.bench.session import Session
from pdlm_cli.commands import bench as command
from pdlm_cli.cores import usable_cores
from pdlm_cli.main import main
from tests.bench.support import SMALL, bench, point, session
from tests.repo.command_lines import check_pdlm_arguments
from tests.repo.files import ROOT


def seconds(found: dict[str, Any]) -> dict[tuple[str, float], int]:
    """Repeats by contender and place."""
    return {(own["contender"], own["value"]): len(own["seconds"]) for own in found["points"]}


def test_throughput_writes_table_charts_and_page(tmp_path: Path) -> None:
    asked = "--regions", "2", "--baseline", "released,sequential,ar", "--part-regions", "1"
    found = bench("throughput", tmp_path, *asked)
    names = ("pdlm", *contenders.BASELINES)
    assert seconds(found) == {(name, count): 2 for name in names for count in (1, 2)}
    points, metadata = read_points(tmp_path)
    assert len(points) == 8
    assert all(own.of_roofline and own.tokens_per_second > 0 and own.joules is None for own in points)
    facts = json.loads(metadata["pdlm.bench_facts"])
    assert facts["weights"] == "random"
    assert {"cpu", "cores", "torch", "flop_per_second", "bytes_per_second", "steps", "tiles"} <= facts.keys()
    assert {"memory_bytes", "device_memory_bytes", "driver", "cuda", "compiled", "numpy"} <= facts.keys()
    assert (facts["regions"], facts["part_steps"], facts["part_regions"]) == (2, None, 1)
    assert {"p90", "p99", "seconds_per_image", "median", "spread"} <= found["points"][0].keys()
    for name in ("throughput.png", "latency.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20  # something is drawn
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert json.loads((tmp_path / "results.json").read_text())["points"] == found["points"]
    assert "| regions a picture |" in (tmp_path / "results.md").read_text()


def test_parallelism_is_four_masks_at_so_many_a_pass(tmp_path: Path) -> None:
    found = bench("parallelism", tmp_path, "--baseline", "released,sequential,ar")
    assert seconds(found) == {("pdlm", 1): 2, ("pdlm", 2): 2, ("pdlm", 4): 2, ("ar", 1): 2, ("released", 4): 2}
    assert {own["regions"] for own in found["points"]} == {4}


@pytest.mark.parametrize(("name", "values"), [("steps", (1, 2)), ("length", (2, 4))])
def test_steps_and_length_vary_what_they_are_named_after(tmp_path: Path, name: str, values: tuple[int, int]) -> None:
    found = bench(name, tmp_path, "--regions", "2", "--values", ",".join(map(str, values)), "--baseline", "released")
    own = {point["value"]: point for point in found["points"] if point["contender"] == "pdlm"}
    assert set(own) == set(values)
    assert [point["steps"] for point in own.values()] == ([1, 2] if name == "steps" else [2, 2])
    assert [point["tokens"] for point in own.values()] == ([4, 4] if name == "steps" else [4, 8])


@pytest.mark.parametrize(("sampler", "taken"), [("auto", [3, 11]), ("topk", [3, 3])])
def test_steps_are_those_of_the_published_rule_unless_another_is_asked_for(sampler: str, taken: list[int]) -> None:
    """Others write a slot a step at least, and so take no more steps than there are slots."""
    many = DecodeSettings(length=3, sampler=sampler)
    points = MEASUREMENTS["steps"].run(session(bench="steps", decode=many, values=(4, 16), repeats=1, warmup=0))
    assert [own.steps for own in points] == taken


def test_memory_is_held_beside_what_is_planned(tmp_path: Path) -> None:
    found = bench("memory", tmp_path, "--values", "1,2")
    first, second = found["points"]
    assert second["planned_bytes"] - first["planned_bytes"] == found["facts"]["planned_bytes_a_pass"]
    assert first["peak_rss_bytes"] > 0


def test_targets_are_judged_and_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short_run(session: Session) -> list[Any]:
        assert session.job.random_weights is None  # the checkpoint that ships
        assert session.job.warmup == 1  # files of the system's cache too
        assert (session.job.device, session.job.dtype) == ("cpu", "auto")  # whatever the rest is measured with
        assert usable_cores() <= 2 and session.meter.gauge is None
        return [point(stage, 8, (1.0,), bench="e2e", axis="stage", regions=50) for stage in ("start", "whole")]

    monkeypatch.setattr(target_runs, "e2e", short_run)
    monkeypatch.setattr(long_run, "REGIONS", 200)
    monkeypatch.setattr(long_run, "OF_A_PICTURE", 2)
    monkeypatch.setattr(target_runs, "count_steps", lambda *_: SceneSteps(1.5, 90.0, 90.1, 90.0, 10))
    found = bench("targets", tmp_path, "--regions", "3", "--part-steps", "1", "--dtype", "bf16")
    verdicts = {(own["target"]["name"], own["target"]["where"]): own for own in found["facts"]["targets"]}
    assert verdicts["small checkpoint", "cpu"]["distance"] == "✓"
    assert verdicts["paradlc", "cuda"]["distance"] == "needs a GPU"
    parts = {own["part"]: own["times"] for own in found["facts"]["parts"]}
    assert parts["vocabulary"] * parts["cache"] * parts["sampler"] == pytest.approx(parts["all"])
    assert parts["decoder"] > 1
    assert verdicts["one pass delayed", "cpu"]["figure"] > 1
    decoded = {own["contender"]: own["flop"] for own in found["points"] if own["value"] == 3}
    assert decoded["delayed"] < decoded["pdlm"] < decoded["sequential"]
    assert [own["regions"] for own in found["points"] if own["bench"] == "long run"] == [20, 200]
    assert 0.5 < verdicts["memory", "cpu"]["figure"] < 2
    assert any("was run" in note for note in found["notes"])
    assert (tmp_path / "targets.png").exists()


def test_steps_keep_written_tokens_where_that_is_asked_for(tmp_path: Path) -> None:
    """By the published rule nothing could be kept."""
    found = bench("steps", tmp_path, "--values", "2", "--cache", "delayed")
    assert {own["steps"] for own in found["points"]} == {2}


def test_the_load_of_paradlc_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from pdlm_cli.bench import paradlc

    monkeypatch.setattr(paradlc, "FEWER_STEPS", 1)
    many, few = paradlc.paradlc_cases(session())
    assert (many.regions, many.value) == (299, 103)
    assert few.run().steps == 1


class Heard:
    def advance(self, items: int) -> None:
        pass


def test_steps_are_counted_on_scenes() -> None:
    progress: Any = Heard()
    found = count_steps(2, "cpu", progress)
    assert 1 <= found.average <= 32
    assert found.regions >= 4
    assert 50 < found.full_score <= 100
    assert 50 < found.delayed_score <= 100


def test_a_real_process_ends_its_output_with_one_json_object(tmp_path: Path) -> None:
    asked = ["bench", "throughput", *SMALL, "--regions", "1", "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pdlm_cli", *asked], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == str(tmp_path)
    compared = CliRunner().invoke(main, ["bench", "compare", str(tmp_path), str(tmp_path)], catch_exceptions=False)
    [difference] = json.loads(compared.stdout.splitlines()[-1])["differences"]
    assert difference["verdict"] == "within noise"
    assert "within noise" in compared.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["throughput", "--baseline", "human"], "human"),
        (["steps", "--values", "1,x"], "whole numbers"),
        (["steps", "--model", "x", "--random-weights", "tiny"], "--random-weights"),
        (["steps", "--vocabulary", "400"], "--vocabulary"),
        (["steps", "--random-weights", "tiny", "--tiles", "2"], "--tiles"),
        (["parallelism", "--random-weights", "tiny", "--values", "9"], "regions a pass"),
        (["steps", "--model", "/nowhere"], "nowhere"),
        (["targets", "--random-weights", "tiny", "--cache", "delayed"], "leave it out"),
        (["targets", "--random-weights", "tiny", "--sampler", "remask"], "with --cache delayed too"),
        (["targets", "--random-weights", "tiny", "--cfg-scale", "1"], "with --cache delayed too"),
        # What would mean nothing there is no option.
        (["memory", "--baseline", "ar"], "No such option"),
        (["memory", "--regions", "2"], "No such option"),
        (["parallelism", "--regions", "2"], "No such option"),
        (["targets", "--values", "2"], "No such option"),
        (["load", "--part-steps", "2"], "No such option"),
        (["e2e", "--tiles", "1"], "No such option"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", *arguments, "--device", "cpu", "--output", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_memory_that_runs_out_is_an_error_of_the_device_and_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(session: Session) -> list[Any]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16 GiB")

    monkeypatch.setitem(MEASUREMENTS, "memory", replace(MEASUREMENTS["memory"], run=too_large))
    result = CliRunner().invoke(main, ["bench", "memory", *SMALL, "--output", str(tmp_path / "out")])
    assert result.exit_code == 6
    assert "the device is out of memory" in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_command_lists_what_there_is() -> None:
    assert list(command.MEASUREMENTS) == list(MEASUREMENTS)
    assert command.BASELINES == contenders.BASELINES
    assert list(command.bench.commands) == [*MEASUREMENTS, "compare"]
    for name in MEASUREMENTS:
        options = [own for own in command.bench.commands[name].params if isinstance(own, click.Option)]
        assert all(own.help for own in options)


def test_sizes_are_those_of_random_models() -> None:
    from model.sizes import SIZES

    assert tuple(SIZES) == command.SIZES


@pytest.mark.parametrize("name", [*MEASUREMENTS, "compare"])
def test_examples_of_the_help_are_understood(name: str) -> None:
    text = command.bench.commands[name].help or ""
    examples = [line.strip() for line in text.split("Examples:")[1].splitlines() if line.strip().startswith("pdlm")]
    assert len(examples) >= 2
    for line in examples:
        check_pdlm_arguments(shlex.split(line)[1:])
