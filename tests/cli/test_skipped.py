"""Regions that --min-area and --skip-crowd leave out: rows without a caption that are no errors, wherever rows go."""

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pycocotools.coco import COCO

from pdlm_cli.errors import ConfigError
from pdlm_cli.main import main
from pdlm_cli.markers import marker_path, read_marker
from tests.cli.runs import many, rows_of, run
from tests.cli.support import Dataset, StubEngine, box_mask, rle
from tests.cli.test_export import exported_name
from tests.cli.test_resume import PLAN, REGIONS, SociableEngine, stopped_in_call

SKIP: dict[str, Any] = {"min_area": 13, "skip_crowd": True}
STATUS = ["ok", "skipped", "skipped", "error", "skipped"]
SMALL, CROWD = "12 pixels, fewer than --min-area 13", "a crowd, which --skip-crowd leaves out"


def pdlm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def mixed(dataset: Dataset) -> Dataset:
    """A picture with a large region, a small one, a crowd and a crowd without a mask; one with a small region alone."""
    first, second = dataset.image(), dataset.image()
    dataset.region(first, rle(box_mask(40, 30, 1, 1, 13, 1)))
    dataset.region(first, rle(box_mask(40, 30, 1, 1, 4, 3)))
    dataset.region(first, rle(box_mask(40, 30, 1, 1, 20, 20)), iscrowd=1)
    dataset.region(first, "nonsense", iscrowd=1)
    dataset.region(second, rle(box_mask(40, 30, 1, 1, 4, 3)))
    return dataset


def test_what_is_skipped_does_not_reach_the_model(mixed: Dataset, tmp_path: Path) -> None:
    engine = StubEngine()
    report = run(mixed, tmp_path / "out", engine, **SKIP)
    rows = rows_of(tmp_path / "out")
    assert [row["status"] for row in rows] == STATUS
    assert engine.batches == [[1]]
    assert [row["error_message"] for row in rows if row["status"] == "skipped"] == [SMALL, CROWD, SMALL]
    for row in rows:
        if row["status"] == "skipped":
            assert row["caption"] is row["error_code"] is row["pass_id"] is None
            assert row["mask_area_px"] and row["bbox_xywh"] and row["image_sha256"]
    assert (report.rows, report.ok, report.skipped, dict(report.errors)) == (5, 1, 3, {"bad_mask": 1})
    stats = json.loads((tmp_path / "out/_pdlm/stats.json").read_text())
    assert (stats["rows"], stats["ok"], stats["skipped"], stats["error_rate"]) == (5, 1, 3, 0.2)
    marker = read_marker(marker_path(tmp_path / "out", 0))
    assert marker is not None and (marker.rows, marker.ok, marker.skipped, marker.errors) == (5, 1, 3, {"bad_mask": 1})


def test_nothing_is_skipped_unasked(mixed: Dataset, tmp_path: Path) -> None:
    run(mixed, tmp_path / "out", StubEngine())
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["ok", "ok", "ok", "error", "ok"]


def test_skipped_rows_are_a_success(mixed: Dataset, tmp_path: Path) -> None:
    del mixed.coco["annotations"][3]
    report = run(mixed, tmp_path / "out", StubEngine(), min_area=10_000)
    assert (report.rows, report.skipped, report.exit_code) == (4, 4, 0)
    assert (tmp_path / "out/_SUCCESS").exists()


def test_captions_do_not_depend_on_what_is_skipped_in_other_pictures(dataset: Dataset, tmp_path: Path) -> None:
    """Passes are those of an input without the skipped regions."""
    many(dataset, REGIONS)
    small = [number for number, item in enumerate(dataset.coco["annotations"]) if number % 3 == 0]
    for number in small:
        dataset.coco["annotations"][number]["segmentation"] = rle(box_mask(40, 30, 2, 2, 2, 1))
    run(dataset, tmp_path / "skipped", SociableEngine(), **PLAN, min_area=3)
    whole = [row for row in rows_of(tmp_path / "skipped", times=False) if row["status"] == "ok"]
    dataset.coco["annotations"] = [
        item for number, item in enumerate(dataset.coco["annotations"]) if number not in small
    ]
    run(dataset, tmp_path / "without", SociableEngine(), **{**PLAN, "part_rows": 1000})
    without = {row["region_key"]: row["pass_id"] for row in rows_of(tmp_path / "without")}
    assert {row["region_key"]: row["pass_id"] for row in whole} == without


def test_a_run_that_skips_goes_on_to_the_same_rows(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, REGIONS)
    for number in range(0, len(dataset.coco["annotations"]), 2):
        dataset.coco["annotations"][number]["iscrowd"] = number % 4 // 2
    skip = {"min_area": 20, "skip_crowd": True}
    run(dataset, tmp_path / "whole", SociableEngine(), **PLAN, **skip)
    whole = rows_of(tmp_path / "whole", times=False)
    assert {row["error_message"] for row in whole} > {None, CROWD}
    for call in (1, 2, 3):
        stopped_in_call(dataset, tmp_path / f"{call}", call, **skip)
        run(dataset, tmp_path / f"{call}", SociableEngine(), **PLAN, **skip)
        assert rows_of(tmp_path / f"{call}", times=False) == whole


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"min_area": 14}, "--min-area was 13, now it is 14"),
        ({"skip_crowd": False}, "--skip-crowd was True, now it is False"),
    ],
)
def test_what_is_skipped_belongs_to_the_run(mixed: Dataset, tmp_path: Path, change: dict[str, Any], told: str) -> None:
    run(mixed, tmp_path / "out", StubEngine(), **SKIP)
    with pytest.raises(ConfigError, match=told):
        run(mixed, tmp_path / "out", StubEngine(), **SKIP | change)


def test_trying_errors_again_leaves_skipped_rows_alone(mixed: Dataset, tmp_path: Path) -> None:
    run(mixed, tmp_path / "out", StubEngine(), **SKIP)
    before = rows_of(tmp_path / "out")
    run(mixed, tmp_path / "out", StubEngine(), **SKIP, retry_errors=True)
    after = rows_of(tmp_path / "out")
    assert [row["attempt"] for row in after] == [1, 1, 1, 2, 1]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, True, False, True]


@pytest.fixture
def finished(mixed: Dataset, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    run(mixed, out, StubEngine(), **SKIP)
    return out


def exported(out: Path, form: str) -> bytes:
    target = out.parent / exported_name(form)
    result = pdlm("export", out, "--to", form, target)
    assert result.exit_code == 0, result.stderr
    return target.read_bytes()


def test_exports_have_no_caption_for_them(finished: Path) -> None:
    exported(finished, "coco")
    annotations = list(COCO(finished.parent / exported_name("coco")).anns.values())
    assert [annotation.get("skipped") for annotation in annotations] == [None, SMALL, CROWD, None, SMALL]
    assert ["error_code" in annotation for annotation in annotations] == [False, False, False, True, False]
    assert ["caption" in annotation for annotation in annotations] == [True, False, False, False, False]
    assert [annotation["area"] for annotation in annotations] == [13, 12, 400, 0, 12]
    lines = [json.loads(line) for line in exported(finished, "jsonl").splitlines()]
    assert [line["status"] for line in lines] == STATUS
    table = list(csv.DictReader(io.StringIO(exported(finished, "csv").decode(), newline="")))
    assert [(line["status"], bool(line["caption"])) for line in table] == [
        (status, status == "ok") for status in STATUS
    ]
    said = json.loads(exported(finished, "paradlc"))
    assert [text["caption"] is not None for text in said.values()] == [True, False, False, False, False]
    with tarfile.open(fileobj=io.BytesIO(exported(finished, "webdataset"))) as tar:
        assert tar.getnames() == ["000000000.png", "000000000.mask.0.png", "000000000.json"]


def test_the_judge_counts_them_as_missing(finished: Path, tmp_path: Path) -> None:
    """Who scores a benchmark has all its masks captioned."""
    said = json.loads(exported(finished, "paradlc"))
    question = {"question": "Which?", "choices": [["Yes.", 1], ["No.", 0]], "type": "positive"}
    (tmp_path / "qa.json").write_text(json.dumps({name: [question] for name in said}))
    for text in said.values():
        text["responses"] = ["Yes", "A"]
    (tmp_path / "judged.json").write_text(json.dumps(said))
    result = pdlm("eval", "score", tmp_path / "judged.json", "--questions", tmp_path / "qa.json", "--json")
    assert result.exit_code == 3, result.stderr
    assert json.loads(result.stdout)["missing"] == 4


def test_pages_and_pictures_say_why(finished: Path, tmp_path: Path) -> None:
    result = pdlm("report", finished)
    assert result.exit_code == 0, result.stderr
    page = (finished / "report.html").read_text()
    assert "1 of 5 regions captioned" in page and "3 skipped" in page
    assert SMALL in page and CROWD in page
    assert '"status": "skipped"' in page or '"status":"skipped"' in page
    assert pdlm("show", finished, "--output", tmp_path / "shown.png").exit_code == 0


def test_shards_are_joined(mixed: Dataset, tmp_path: Path) -> None:
    run(mixed, tmp_path / "whole", StubEngine(), **SKIP)
    shards = [tmp_path / f"{i}" for i in range(2)]
    for i, shard in enumerate(shards):
        run(mixed, shard, StubEngine(), **SKIP, shard=(i, 2))
    merged = pdlm("merge", *shards, "--output", tmp_path / "out", "--verify", "--json")
    assert merged.exit_code == 3, merged.stderr
    summary = json.loads(merged.stdout)
    assert (summary["rows"], summary["ok"], summary["skipped"], summary["passes"]) == (5, 1, 3, 1)
    assert "5 rows, 1 of them errors, 3 skipped, of 2 shards" in merged.stderr
    assert rows_of(tmp_path / "out", times=False) == rows_of(tmp_path / "whole", times=False)


def test_a_finished_run_says_what_it_holds(mixed: Dataset, tmp_path: Path) -> None:
    """Called again nothing is computed: no passes and no seconds are told of, and the exit code is what it was."""
    out = tmp_path / "out"
    skip = ["--min-area", 13, "--skip-crowd"]
    command = ["caption", "--input", mixed.write(), "--output", out, "--dry-run-model", *skip]
    first = pdlm(*command, "--json")
    again = pdlm(*command, "--json")
    assert first.exit_code == again.exit_code == 3, again.stderr
    assert "passes" in first.stderr and "Run" in first.stderr
    assert "is finished: 5 rows, 1 of them errors, 3 skipped. --overwrite makes them all again" in again.stderr
    assert "--retry-errors tries the error rows once more" in again.stderr
    assert "Finished already" in again.stderr
    for name in ("passes", "seconds", "rows of this call"):
        assert name not in again.stderr
    before, after = json.loads(first.stdout), json.loads(again.stdout)
    assert (before["finished_before"], after["finished_before"]) == (False, True)
    held = ("exit_code", "images", "rows", "ok", "errors", "skipped", "error_rate")
    assert [before[name] for name in held] == [after[name] for name in held]
    assert (after["rows_made"], after["seconds"], after["regions_per_second"]) == (0, None, None)
    stats = json.loads((out / "_pdlm/stats.json").read_text())
    assert stats == before  # of the call that made the rows
