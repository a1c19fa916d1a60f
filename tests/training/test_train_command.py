"""`pdlm train` at the command line."""

import json

import pytest
import yaml
from click.testing import CliRunner

from pdlm_cli.main import main
from tests.training.support import job_values, squares


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job_values(squares(tmp_path / "data", 5), tmp_path / "out")))
    return path


def test_dry_run_shows_what_would_be_done_and_does_nothing(file, tmp_path):
    result = CliRunner().invoke(
        main, ["train", str(file), "optimizer.freeze=[vision]", "--dry-run", "--max-steps", "9"]
    )
    assert result.exit_code == 0, result.output
    job = yaml.safe_load(result.output.split("\n\n")[0])
    assert job["optimizer"]["freeze"] == ["vision"]
    assert job["max_steps"] == 9
    assert "9 steps of 4 samples = 1 processes x 2 forwards x 2" in result.output
    vision = next(line for line in result.output.splitlines() if line.startswith("vision "))
    assert vision.split()[1] == "0"
    assert int(vision.split()[2].replace(",", "")) > 0
    assert "Describe each masked region in detail." in result.output
    assert "activations" in result.output
    assert "0000" in result.output
    assert not (tmp_path / "out").exists()


def test_of_several_processes_one_tells_what_would_be_done(file):
    first, second = (
        CliRunner().invoke(main, ["train", str(file), "--dry-run"], env={"RANK": rank, "WORLD_SIZE": "2"})
        for rank in "01"
    )
    assert "2 processes x 1 forwards x 2" in first.stdout
    assert (second.exit_code, second.stdout) == (0, "")


def test_a_wrong_job_is_a_usage_error(file):
    result = CliRunner().invoke(main, ["train", str(file), "optimizer.speed=1", "--log-format", "json"])
    assert result.exit_code == 2
    event = json.loads(result.stderr)
    assert event["level"] == "error" and "unknown field optimizer.speed" in event["message"]


def test_data_that_is_not_there_is_an_input_error(file):
    result = CliRunner().invoke(main, ["train", str(file), "data.sources.0.path=nowhere.json"])
    assert result.exit_code == 4
    assert "cannot read nowhere.json: No such file or directory\n" in result.stderr
