"""Runs whose output lies in the folder of their input, as it does by default for `--input .`."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pdlm_cli.main import main
from tests.cli.runs import rows_of


def caption(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["caption", "--dry-run-model", *map(str, arguments)])


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for stem in "ab":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{stem}.jpg")
        Image.new("L", (4, 4), 1).save(tmp_path / f"{stem}_0.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_among_its_pictures_goes_on_and_is_no_part_of_them(photos: Path) -> None:
    command = ("--input", ".", "--report", "--also", "coco", "--also", "csv")
    assert caption(*command).exit_code == 0
    assert CliRunner().invoke(main, ["show", "out"]).exit_code == 0
    (photos / "out/data/part-00000.parquet").unlink()
    result = caption(*command)
    assert result.exit_code == 0, result.stderr
    assert [row["image_id"] for row in rows_of(photos / "out")] == ["a.jpg", "b.jpg"]
    assert caption("--input", ".", "--output", "again").exit_code == 0
    assert "left out" not in result.stderr  # pictures.png is no picture that lacks masks


def test_the_output_cannot_be_the_input(photos: Path) -> None:
    result = caption("--input", ".", "--output", photos)
    assert result.exit_code == 2
    assert "choose another --output" in result.stderr
    assert not (photos / "_pdlm").exists()


def test_a_run_given_as_an_input_is_said_to_be_one(photos: Path) -> None:
    assert caption("--input", ".").exit_code == 0
    for result in (CliRunner().invoke(main, ["inspect", "out"]), caption("--input", "out", "--output", "other")):
        assert result.exit_code == 4
        assert "it is a run of `pdlm caption`; expected the input of one" in result.stderr
