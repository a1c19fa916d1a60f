"""What goes wrong with a region, a picture or a pass becomes an error row, and the rest goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from pdlm_cli import parts
from pdlm_cli.engine import PassFailure
from tests.cli.runs import many, rows_of, run
from tests.cli.support import Dataset, StubEngine, box_mask, rle


@pytest.mark.fault("mask of another size than the picture")
@pytest.mark.fault("empty mask")
@pytest.mark.fault("missing picture, all missing")
def test_each_fault_is_an_error_row_and_its_neighbours_go_on(dataset: Dataset, tmp_path: Path) -> None:
    good = dataset.image()
    dataset.region(good)
    faults = {
        dataset.region(good, {"size": [30, 40], "counts": "dangling P"}): "bad_mask",
        dataset.region(good, rle(box_mask(40, 30, 0, 0, 0, 0))): "empty_mask",
        dataset.region(good, rle(box_mask(41, 30, 0, 0, 5, 5))): "size_mismatch",
        dataset.region(good, [[100, 100, 120, 100, 120, 120]]): "empty_mask",
    }
    dataset.region(good, [[0, 0, 9, 0, 9, 9]])
    scaled = dataset.image()
    dataset.coco["images"][scaled - 1]["width"] = 80
    faults[dataset.region(scaled, [[0, 0, 9, 0, 9, 9]])] = "size_mismatch"
    dataset.region(scaled, rle(box_mask(40, 30, 1, 1, 5, 5)))
    faults[dataset.region(dataset.image(write=False))] = "missing_image"
    faults[dataset.region(dataset.image(name="../outside.png"))] = "outside_root"
    cut = dataset.image(name="cut.png")
    path = dataset.folder / "cut.png"
    path.write_bytes(path.read_bytes()[:-200])
    faults[dataset.region(cut)] = "bad_image"
    faults[dataset.region(cut)] = "bad_image"
    dataset.region(dataset.image())

    report = run(dataset, tmp_path / "out", StubEngine())
    rows = {int(row["region_id"]): row for row in rows_of(tmp_path / "out")}
    assert {number: row["error_code"] for number, row in rows.items() if row["status"] == "error"} == faults
    for number, row in rows.items():
        assert (row["caption"] is None) == (row["error_message"] is not None) == (number in faults)
    assert report.exit_code == 3
    assert report.errors.total() == len(faults)
    assert report.ok == 4
    assert rows[1]["pass_size"] == 2
    assert json.loads((tmp_path / "out/_pdlm/done/00000.json").read_text())["errors"] == len(faults)
    assert not (tmp_path / "out/_SUCCESS").exists()


def test_errors_within_the_allowed_rate_are_a_success(dataset: Dataset, tmp_path: Path) -> None:
    image = dataset.image()
    for segmentation in (None, None, None, "nonsense"):
        dataset.region(image, segmentation)
    assert run(dataset, tmp_path / "a", StubEngine(), max_error_rate=0.25).exit_code == 0
    assert (tmp_path / "a/_SUCCESS").exists()
    assert run(dataset, tmp_path / "b", StubEngine(), max_error_rate=0.24).exit_code == 3


@pytest.mark.fault("missing picture, all missing")
def test_no_image_at_all_is_an_unreadable_input(dataset: Dataset, tmp_path: Path) -> None:
    for _ in range(3):
        dataset.region(dataset.image(write=False))
    assert run(dataset, tmp_path / "out", StubEngine(), max_error_rate=1.0).exit_code == 4
    assert [row["error_code"] for row in rows_of(tmp_path / "out")] == ["missing_image"] * 3


class NanEngine(StubEngine):
    """Fails with every pass of two regions."""

    def caption(self, passes: list[Any]) -> list[Any]:
        failure = PassFailure("nan_logits", "the model gave NaN")
        return [
            failure if len(item) == 2 else result for item, result in zip(passes, super().caption(passes), strict=True)
        ]


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_a_pass_that_fails_is_error_rows_and_its_neighbours_go_on(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [3, 5, 1])
    report = run(dataset, tmp_path / "out", NanEngine(), batch_size=4)
    rows = rows_of(tmp_path / "out")
    assert report.errors == {"nan_logits": 2}
    assert (report.ok, report.passes, report.exit_code) == (7, 3, 3)
    assert [row["pass_size"] for row in rows if row["error_code"] == "nan_logits"] == [2, 2]
    assert {row["error_message"] for row in rows if row["caption"] is None} == {"the model gave NaN"}
    stats = json.loads((tmp_path / "out/_pdlm/stats.json").read_text())
    assert stats["milliseconds"] == {"encode": pytest.approx(0.75), "decode": pytest.approx(1.5)}


def test_only_the_first_error_rows_are_logged(dataset: Dataset, tmp_path: Path) -> None:
    for _ in range(6):
        image = dataset.image()
        for _ in range(4):
            dataset.region(image, "nonsense")
    run(dataset, tmp_path / "out", StubEngine())
    lines = [json.loads(line) for line in (tmp_path / "out/_pdlm/log.jsonl").read_text().splitlines()]
    assert sum(line.get("event") == "error_row" for line in lines) == parts.SHOWN_ERRORS
    assert sum("further error rows" in line["message"] for line in lines) == 1
    assert lines[0]["event"] == "start"
    assert lines[-1]["event"] == "end"
    assert lines[-1]["errors"] == {"bad_mask": 24}


@pytest.mark.fault("malformed RLE or polygon")
def test_deeply_nested_masks_are_error_rows(dataset: Dataset, tmp_path: Path) -> None:
    image = dataset.image()
    deep: list[Any] = []
    for _ in range(700):
        deep = [deep]
    dataset.region(image, deep)
    dataset.region(image)
    run(dataset, tmp_path / "out", StubEngine())
    assert [row["error_code"] for row in rows_of(tmp_path / "out")] == ["bad_mask", None]
