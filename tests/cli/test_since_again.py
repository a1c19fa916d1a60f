"""Incremental runs once they are made: merged, exported and drawn without what they were compared with."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pdlm_cli.finished import FinishedRun
from pdlm_cli.main import main
from tests.cli.runs import rows_of, run
from tests.cli.support import Dataset, StubEngine


def pdlm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.mark.parametrize("since_by", ["name", "content"])
def test_an_incremental_run_is_read_again_as_it_was_made(dataset: Dataset, tmp_path: Path, since_by: str) -> None:
    """Whatever rule it was made by, and where its record knows of none."""
    for _ in range(3):
        dataset.region(dataset.image())
    run(dataset, tmp_path / "first", StubEngine(), limit=2)
    (dataset.folder / "2.png").rename(dataset.folder / "renamed.png")
    dataset.coco["images"][1]["file_name"] = "renamed.png"
    out = tmp_path / "second"
    run(dataset, out, StubEngine(), since=(tmp_path / "first",), since_by=since_by)
    record = out / "_pdlm/run.json"
    facts = json.loads(record.read_text())
    if since_by == "content":
        del facts["job"]["since_by"], facts["job"]["min_area"], facts["job"]["skip_crowd"]
        record.write_text(json.dumps(facts))
    manifest, _ = FinishedRun(out).input()
    expected = ["2", "3"] if since_by == "name" else ["3"]
    assert [entry.image_id for entry in manifest] == [row["image_id"] for row in rows_of(out)] == expected


@pytest.mark.parametrize("gone", [True, False])
def test_an_incremental_run_needs_the_earlier_one_no_more(dataset: Dataset, tmp_path: Path, gone: bool) -> None:
    """Finished, it is read by its own rows: the earlier run may be gone, or have captioned by now what it lacked."""
    for _ in range(9):
        dataset.region(dataset.image())
    (dataset.folder / "1.png").rename(tmp_path / "kept.png")
    run(dataset, tmp_path / "first", StubEngine(), limit=3)
    (tmp_path / "kept.png").rename(dataset.folder / "1.png")
    shards = [tmp_path / f"shard{index}" for index in range(2)]
    for index, shard in enumerate(shards):
        run(dataset, shard, StubEngine(), since=(tmp_path / "first",), limit=5, shard=(index, 2))
    if gone:
        (tmp_path / "first").rename(tmp_path / "away")
    else:
        run(dataset, tmp_path / "first", StubEngine(), limit=3, retry_errors=True)
    assert pdlm("merge", *shards, "--output", tmp_path / "out", "--verify").exit_code == 0
    assert [row["image_id"] for row in rows_of(tmp_path / "out")] == ["1", "4", "5", "6", "7"]
    for out in (tmp_path / "out", *shards):
        manifest, _ = FinishedRun(out).input()
        assert [entry.image_id for entry in manifest] == [row["image_id"] for row in rows_of(out)]
        assert pdlm("export", out, "--to", "coco", out / "captions.json").exit_code == 0
        assert pdlm("show", out, "--output", out / "pictures.png").exit_code == 0


def test_a_lost_picture_that_is_all_there_is_left_is_no_wrong_folder(dataset: Dataset, tmp_path: Path) -> None:
    """Each night it is an error row, and exit code 3, as it was with the others beside it; so is it in a merged run."""
    for _ in range(2):
        dataset.region(dataset.image())
    (dataset.folder / "2.png").unlink()
    run(dataset, tmp_path / "first", StubEngine())
    caption = ["caption", "--input", dataset.write(), "--dry-run-model", "--since", tmp_path / "first"]
    for _ in range(2):
        assert pdlm(*caption, "--output", tmp_path / "second").exit_code == 3
    assert pdlm(*caption, "--shard", "0/1", "--output", tmp_path / "shard").exit_code == 3
    assert pdlm("merge", tmp_path / "shard", "--output", tmp_path / "merged").exit_code == 3
    (dataset.folder / "1.png").unlink()
    assert pdlm(*caption, "--output", tmp_path / "third").exit_code == 4


@pytest.mark.parametrize("overwrite", [True, False])
def test_no_run_replaces_the_one_it_goes_on_from(dataset: Dataset, tmp_path: Path, overwrite: bool) -> None:
    dataset.region(dataset.image())
    run(dataset, tmp_path / "first", StubEngine())
    before = rows_of(tmp_path / "first")
    where = ["--since", tmp_path / "first", "--output", tmp_path / "x/../first", "--dry-run-model"]
    result = pdlm("caption", "--input", dataset.write(), *where, *(["--overwrite"] if overwrite else []))
    assert result.exit_code == 2 and "is a run of --since" in result.stderr
    assert rows_of(tmp_path / "first") == before
