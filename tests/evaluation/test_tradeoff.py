"""`pdlm eval tradeoff`: the same scenes, decoded in many ways."""

import io
import json
import shlex
from pathlib import Path

from click.testing import CliRunner
from PIL import Image

from pdlm_cli.evaluation import tradeoff
from pdlm_cli.main import main
from tests.cli.test_help import examples
from tests.repo.command_lines import check_pdlm_arguments
from tests.repo.files import ROOT

SCENES = ["--level", "3", "--size", "96", "--pictures", "2", "--seed", "3", "--objects", "2-2"]
FEW = {
    ("remask", "steps", "auto"): (8, 2),
    ("threshold", "threshold", "auto"): (0.999, 0.3),
    ("topk", "stable", "auto"): (1,),
    ("factor", "factor", "delayed"): (0.1,),
}


def test_examples_of_the_help_are_understood() -> None:
    for line in examples("eval", "tradeoff"):
        check_pdlm_arguments(shlex.split(line)[1:])


def test_weights_are_stored_as_asked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tradeoff, "WAYS", {("remask", "steps", "auto"): (2,)})
    found = {}
    for quantize in ([], ["--quantize", "nf4"]):
        out = tmp_path / f"out-{len(quantize)}"
        result = CliRunner().invoke(main, ["eval", "tradeoff", *SCENES, *quantize, "--output", str(out)])
        assert result.exit_code == 0, result.stderr
        scores = json.loads((out / "scores.json").read_text())
        found[scores["engine"]["quantize"]] = scores["ways"][0]["avg"]
    assert list(found) == ["none", "nf4"]
    assert found["none"] != found["nf4"]


def test_ways_that_a_checkpoint_cannot_be_decoded_in_are_left_out(tmp_path: Path, monkeypatch) -> None:
    """Of published weights nothing that is written can be kept."""
    monkeypatch.setattr(tradeoff, "WAYS", {("remask", "steps", "auto"): (2,), ("topk", "steps", "delayed"): (2,)})
    released = str(ROOT / "tests/data/region/checkpoint")
    asked = ["eval", "tradeoff", *SCENES, "--model", released, "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.stderr
    [way] = json.loads((tmp_path / "out/scores.json").read_text())["ways"]
    assert way["sampler"] == "remask"
    assert "left out: topk, delayed: cache delayed needs isolated attention" in " ".join(result.stderr.split())


def test_every_way_is_scored_on_the_same_scenes(tmp_path: Path, monkeypatch) -> None:
    """With the checkpoint that ships."""
    monkeypatch.setattr(tradeoff, "WAYS", FEW)
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["eval", "tradeoff", *SCENES, "--output", str(out)])
    assert result.exit_code == 0, result.stderr
    scores = json.loads((out / "scores.json").read_text())
    ways = {(way["sampler"], way["value"]): way for way in scores["ways"]}
    assert list(ways) == [(sampler, value) for (sampler, _, _), values in FEW.items() for value in values]
    assert ways["remask", 8]["steps"] == 8
    assert ways["remask", 2]["steps"] == 2
    assert ways["threshold", 0.999]["steps"] > ways["threshold", 0.3]["steps"] >= 1
    assert ways["topk", 1]["steps"] < 32
    assert all(0 < way["recognised"] <= 1 and way["seconds"] > 0 for way in ways.values())
    assert ways["remask", 2]["tokens_per_forward"] > 3 * ways["remask", 8]["tokens_per_forward"]

    lines = (out / "tradeoff.md").read_text().splitlines()
    assert len(lines) == 2 + 6
    assert "| factor, factor 0.1, delayed |" in lines[7]
    assert "| threshold, threshold 0.3 |" in lines[5]
    with Image.open(io.BytesIO((out / "tradeoff.png").read_bytes())) as picture:
        assert picture.format == "PNG" and picture.width > 600

    again = CliRunner().invoke(main, ["eval", "tradeoff", *SCENES, "--output", str(out)])
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
