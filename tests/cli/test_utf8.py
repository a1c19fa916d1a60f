"""Arguments that are not UTF-8, which Python takes as lone surrogates."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pdlm_cli.main import main
from tests.cli.support import CHECKPOINT, REPOSITORY, Dataset

PHOTO = str(REPOSITORY / "examples/photo/demo.jpg")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["chat", PHOTO, "W\udcf6?", "--model", str(CHECKPOINT)], r"W\xf6?"),
        (["caption", "--prompt", "W\udcf6", "--dry-run-model", "--input"], r"W\xf6"),
        (["caption", "--output", "o\udcf6", "--dry-run-model", "--input"], r"o\xf6"),
    ],
)
def test_arguments_that_are_not_utf8_are_refused(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], shown: str
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset.region(dataset.image())
    before = {str(dataset.write()), *map(str, tmp_path.iterdir())}
    result = CliRunner().invoke(main, [*command, str(dataset.file)] if command[0] == "caption" else command)
    assert result.exit_code == 2
    assert f"the argument {shown} is not UTF-8" in result.stderr
    assert set(map(str, tmp_path.iterdir())) <= before
