"""`pdlm merge`: shards become the run that was not sharded."""

import json
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pdlm_cli.main import main
from pdlm_cli.manifest import open_manifest, shard_of
from tests.cli.runs import rows_of
from tests.cli.support import Dataset
from tests.cli.test_help import examples
from tests.cli.written_inputs import FOLDER

COUNT = 3


def pdlm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def caption(dataset: Dataset, out: Path, *arguments: Any) -> Result:
    run = ["--input", dataset.file, "--output", out, "--dry-run-model", "--part-rows", 4, "--batch-size", 2]
    return pdlm("caption", *run, *arguments)


@pytest.fixture
def shards(dataset: Dataset, tmp_path: Path) -> list[Path]:
    """Three shards; annotations are not in the order of their images, and one picture is missing."""
    for _ in range(10):
        dataset.image(32, 32)
    for i in range(24):
        dataset.region((7 * i) % 10 + 1)
    dataset.region(dataset.image(write=False))
    dataset.write()
    folders = [tmp_path / f"shards/{index}" for index in range(COUNT)]
    for index, folder in enumerate(folders):
        assert caption(dataset, folder, "--shard", f"{index}/{COUNT}").exit_code in (0, 3, 4)
    return folders


def test_every_image_is_in_one_shard_whatever_else_the_input_holds(dataset: Dataset) -> None:
    for _ in range(40):
        dataset.region(dataset.image(write=False))
    manifest = open_manifest(dataset.write())
    parts = [manifest.sharded(index, COUNT) for index in range(COUNT)]
    assert sorted(int(entry.image_id) for part in parts for entry in part) == list(range(1, 41))
    assert all(part.images > 5 for part in parts)
    assert [entry.image_id for entry in manifest.limited(9).sharded(1, COUNT)] == [
        entry.image_id for entry in parts[1] if int(entry.image_id) <= 9
    ]
    # The function is part of what shards on other machines must agree about.
    assert [shard_of(name, 8) for name in ("1", "2", "photo.jpg", "é")] == [6, 6, 2, 5]


def test_merged_shards_are_the_run_that_was_not_sharded(dataset: Dataset, tmp_path: Path, shards: list[Path]) -> None:
    assert caption(dataset, tmp_path / "whole").exit_code == 3
    merged = pdlm("merge", *reversed(shards), "--output", tmp_path / "out", "--verify", "--json")
    assert merged.exit_code == 3, merged.stderr
    assert json.loads(merged.stdout)["errors"] == {"missing_image": 1}
    assert "holds every row of the 3 shards" in merged.stderr
    assert rows_of(tmp_path / "out", times=False) == rows_of(tmp_path / "whole", times=False)
    parts = [sorted(part.name for part in (tmp_path / name / "data").iterdir()) for name in ("out", "whole")]
    assert parts[0] == parts[1]
    facts = json.loads((tmp_path / "out/_pdlm/run.json").read_text())
    assert len(facts["merged_from"]) == COUNT and facts["input"]["regions"] == 25
    # It is a finished run like any other.
    again = caption(dataset, tmp_path / "out")
    assert again.exit_code == 3
    assert "is finished: 25 rows" in again.stderr
    assert pdlm("merge", *shards, "--output", tmp_path / "out").exit_code == 3


def test_progress_counts_every_row(shards: list[Path], tmp_path: Path, told: Mapping[str, list[int]]) -> None:
    told["regions"].clear()  # of the shards
    assert pdlm("merge", *shards, "--output", tmp_path / "out", "--verify").exit_code == 3
    assert sum(told["regions"]) == 25 and len(told["regions"]) == 11
    assert told["rows"] == [1] * 25


def test_a_merged_run_has_a_log_and_counts_what_its_shards_did(
    dataset: Dataset, tmp_path: Path, shards: list[Path]
) -> None:
    out = tmp_path / "out"
    result = pdlm("merge", *shards, "--output", out)
    assert result.exit_code == 3, result.stderr
    merged, *parts = (json.loads((run / "_pdlm/stats.json").read_text()) for run in (out, *shards))
    for name in ("rows_made", "passes", "tokens_generated"):
        assert merged[name] == sum(part[name] for part in parts) > 0
    # Shards run at the same time, on machines of their own: no time is that of the run.
    assert merged["seconds"] is merged["regions_per_second"] is merged["milliseconds"] is None
    assert "passes" in result.stderr and "seconds" not in result.stderr and "rows of this call" not in result.stderr
    events = [json.loads(line) for line in (out / "_pdlm/log.jsonl").read_text().splitlines()]
    # And progress between, on a machine that is busy enough.
    assert [event["event"] for event in events if event["event"] != "progress"] == ["start", "end"]
    assert events[0]["merged_from"] and events[-1]["rows"] == merged["rows"]
    assert pdlm("report", out).exit_code == 0
    assert "None" not in (out / "report.html").read_text()


def spoil(path: Path) -> None:
    part = next(path.glob("data/*"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("case", "code", "told"),
    [
        ("missing", 2, "shards are missing: 1/3"),
        ("twice", 2, "shard 1/3 is given twice"),
        ("whole", 2, "is no shard"),
        ("seed", 2, "--seed is 0 in"),
        ("count", 2, "some are of 3, others of 4"),
        ("unfinished", 2, "run its command again"),
        ("spoilt", 4, "is not the file that its done-marker describes"),
        ("moved", 4, "--masks say where it lies now"),
        ("changed", 4, "is not what"),
        ("inside", 2, "is one of the shards"),
        ("occupied", 2, "holds another run"),
    ],
)
def test_what_is_wrong_with_shards_is_named(
    dataset: Dataset,
    tmp_path: Path,
    shards: list[Path],
    case: str,
    code: int,
    told: str,
) -> None:
    out, given = tmp_path / "out", list(shards)
    if case == "missing":
        del given[1]
    elif case == "twice":
        given[2] = shutil.copytree(shards[1], tmp_path / "copy")
    elif case in ("whole", "seed", "count"):
        options = {"whole": [], "seed": ["--shard", "1/3", "--seed", 5], "count": ["--shard", "1/4"]}[case]
        caption(dataset, tmp_path / "other", *options)
        given[1] = tmp_path / "other"
    elif case == "unfinished":
        for file in [*shards[1].glob("data/*"), *shards[1].glob("_pdlm/done/*")]:
            file.unlink()
    elif case == "spoilt":
        spoil(shards[1])
    elif case == "moved":
        dataset.file.unlink()
    elif case == "changed":
        dataset.file.write_text(dataset.file.read_text() + "\n")
    elif case == "inside":
        out = shards[0]
    elif case == "occupied":
        caption(dataset, out)
    result = pdlm("merge", *given, "--output", out)
    assert result.exit_code == code, result.stderr
    assert told in result.stderr


def test_the_input_may_have_moved(dataset: Dataset, tmp_path: Path, shards: list[Path]) -> None:
    moved = dataset.file.rename(tmp_path / "moved.json")
    assert pdlm("merge", *shards, "--output", tmp_path / "out", "--input", moved).exit_code == 3


def test_pictures_and_mask_pictures_may_have_moved(tmp_path: Path) -> None:
    """What follows the merge finds them where it was told that they are."""
    shutil.copytree(FOLDER / "panoptic", tmp_path / "input")
    (tmp_path / "input/panoptic").rename(tmp_path / "masks")
    (tmp_path / "pictures").mkdir()
    for picture in (tmp_path / "input").glob("*.png"):
        picture.rename(tmp_path / "pictures" / picture.name)
    where = ["--input", "input/panoptic.json", "--images", "pictures", "--masks", "masks"]

    def inside(folder: Path) -> list[Any]:
        return [argument if argument.startswith("-") else folder / argument for argument in where]

    before = ["caption", *inside(tmp_path), "--dry-run-model"]
    assert pdlm(*before, "--limit", 1, "--output", tmp_path / "first").exit_code == 0
    shards = [tmp_path / f"shards/{index}" for index in range(2)]
    for index, shard in enumerate(shards):
        since = ["--since", tmp_path / "first", "--shard", f"{index}/2", "--output", shard]
        assert pdlm(*before, *since).exit_code == 0
    (tmp_path / "moved").mkdir()
    for name in ("input", "pictures", "masks"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    merge = ["merge", *shards, "--output", tmp_path / "out", "--json"]
    assert pdlm(*merge, *inside(tmp_path / "moved")[:2]).exit_code == 4
    result = pdlm(*merge, *inside(tmp_path / "moved"))
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["rows"] == sum(len(rows_of(shard)) for shard in shards) > 0
    assert pdlm("export", tmp_path / "out", "--to", "coco", tmp_path / "captions.json").exit_code == 0


@pytest.mark.parametrize("value", ["3/3", "4/3", "1", "-1/3", "a/b", "0/0"])
def test_shards_that_cannot_be_are_usage_errors(value: str) -> None:
    result = pdlm("caption", "--input", "masks.json", "--shard", value)
    assert result.exit_code == 2
    assert "--shard" in result.output


def test_examples_of_the_help_run(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.region(dataset.image(32, 32))
    dataset.write()
    monkeypatch.chdir(tmp_path)
    for index in range(4):
        caption(dataset, Path(f"shards/{index}"), "--shard", f"{index}/4")
    for line in examples("merge"):
        assert pdlm(*shlex.split(line)[1:]).exit_code == 0
