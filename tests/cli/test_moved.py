"""Mask pictures in a folder of their own: a run knows it again, and commands that read a run find it elsewhere."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pdlm_cli.main import main
from tests.cli.written_inputs import FOLDER


def pdlm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def command(tmp_path: Path) -> list[Any]:
    """Of a run whose masks were named."""
    shutil.copytree(FOLDER / "panoptic", tmp_path / "input")
    (tmp_path / "input/panoptic").rename(tmp_path / "masks")
    inputs = ["--input", tmp_path / "input/panoptic.json", "--masks", tmp_path / "masks"]
    arguments = ["caption", *inputs, "--output", tmp_path / "out", "--dry-run-model"]
    assert pdlm(*arguments).exit_code == 0
    return arguments


@pytest.mark.fault("another input, model or setting on the same directory")
def test_other_masks_are_another_run(command: list[Any], tmp_path: Path) -> None:
    other = shutil.copytree(tmp_path / "masks", tmp_path / "other")
    result = pdlm(*command, "--masks", other)
    assert result.exit_code == 2
    assert f"--masks was {tmp_path / 'masks'}, now it is {other}" in result.stderr
    assert pdlm(*command, "--masks", f"{other}/../masks/").exit_code == 0
    assert pdlm(*command, "--masks", other, "--overwrite").exit_code == 0


def moved(tmp_path: Path) -> list[Any]:
    """Where everything is, once it is somewhere else."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(tmp_path / "input", elsewhere / "input")
    shutil.move(tmp_path / "masks", elsewhere / "masks")
    return ["--input", elsewhere / "input/panoptic.json", "--images", elsewhere / "input", "--masks"]


def test_exports_find_masks_that_moved(command: list[Any], tmp_path: Path) -> None:
    export = ["export", tmp_path / "out", "--to", "coco"]
    assert pdlm(*export, tmp_path / "before.json").exit_code == 0
    where = moved(tmp_path)
    result = pdlm(*export, tmp_path / "after.json", *where[:-1])
    assert result.exit_code == 4 and "--masks names" in result.stderr
    result = pdlm(*export, tmp_path / "after.json", *where, tmp_path / "elsewhere/masks")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "after.json").read_bytes() == (tmp_path / "before.json").read_bytes()


def test_reports_find_masks_that_moved(command: list[Any], tmp_path: Path) -> None:
    assert pdlm("report", tmp_path / "out", "--output", tmp_path / "before.html").exit_code == 0
    where = moved(tmp_path)
    result = pdlm("report", tmp_path / "out", "--output", tmp_path / "after.html", *where, tmp_path / "elsewhere/masks")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "after.html").read_bytes() == (tmp_path / "before.html").read_bytes()


def test_runs_are_drawn_from_where_their_input_is(command: list[Any], tmp_path: Path) -> None:
    show = ["show", tmp_path / "out", "--output"]
    assert pdlm(*show, tmp_path / "before.png").exit_code == 0
    where = moved(tmp_path)
    result = pdlm(*show, tmp_path / "after.png")
    assert result.exit_code == 4 and "--masks say where it lies now" in result.stderr
    result = pdlm(*show, tmp_path / "after.png", *where, tmp_path / "elsewhere/masks")
    assert result.exit_code == 0, result.stderr
    with Image.open(tmp_path / "before.png") as before, Image.open(tmp_path / "after.png") as after:
        assert before.tobytes() == after.tobytes()


def test_a_picture_has_no_input_that_moved(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    result = pdlm("show", tmp_path / "photo.png", tmp_path / "photo.png", "--input", tmp_path)
    assert result.exit_code == 2 and "--input has no meaning" in result.stderr
