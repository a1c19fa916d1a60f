"""The examples of the help of every command, run as they stand there."""

import shlex
from pathlib import Path

import pytest

from pdlm_cli import checkpoints
from tests.cli.runs import caption, pdlm
from tests.cli.support import CHECKPOINT, Dataset
from tests.cli.test_help import ALL, examples
from tests.cli.tiny_sam import write_sam2

pytestmark = pytest.mark.usefixtures("in_process")

# Those of llada need a download, those of average two trainings, those of bench and tradeoff minutes; all are looked at
# beside the tests of their commands.
ELSEWHERE = (
    ("chat",),
    ("convert", "llada"),
    ("convert", "average"),
    ("train",),
    ("eval", "score"),
    ("eval", "tradeoff"),
    ("propose",),
    ("show",),
    ("report",),
    ("ablations",),
    ("merge",),
    ("export",),
)
RUNNABLE = [line for path in ALL if path not in ELSEWHERE and path[:1] != ("bench",) for line in examples(*path)]


@pytest.mark.parametrize("line", dict.fromkeys(RUNNABLE))
def test_examples_of_the_help_run(photo: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "demo.jpg").write_bytes((tmp_path / "demo.jpg").read_bytes())
    if "--propose" in line:
        write_sam2(tmp_path / "sam2", score=0.0)  # none of its masks is good enough: a table without rows
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoints, "shipped_checkpoint", lambda *_: CHECKPOINT)
    if "--since" in line:
        assert caption("--input", "masks.json", "--output", "monday", "--dry-run-model").exit_code == 0
    program, *arguments = shlex.split(line)
    assert program == "pdlm"
    result = pdlm(*arguments)
    # Masks of the photo overlap, which panoptic cannot hold.
    expected = 3 if arguments[:2] == ["convert", "panoptic"] else 0
    assert result.exit_code == expected, result.stderr
