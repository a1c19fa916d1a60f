"""`pdlm export` and `--also`: the finished table in other forms."""

import csv
import io
import json
import shlex
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pycocotools.coco import COCO

from pdlm_cli import exporting
from pdlm_cli.exports import EXPORTS
from pdlm_cli.exports.paradlc import mask_name
from pdlm_cli.exports.table import safe
from pdlm_cli.main import main
from tests.cli.runs import rows_of, run
from tests.cli.support import Dataset, StubEngine, box_mask
from tests.cli.test_help import examples
from tests.cli.test_parquet import OK


def pdlm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def finished(dataset: Dataset, tmp_path: Path) -> Path:
    """A run of three images in two parts: polygons, both run lengths, a crowd, a bad mask, a missing picture."""
    first = dataset.image(40, 30)
    dataset.region(first)
    dataset.region(first, [[3, 2, 9, 2, 9, 7, 3, 7]], category_id=None)
    dataset.region(first, "nonsense")
    second = dataset.image(20, 10)
    dataset.region(second, {"size": [10, 20], "counts": [13, 4, 183]}, iscrowd=1)
    dataset.region(dataset.image(write=False))
    dataset.coco["annotations"][0]["id"] = "é1"
    run(dataset, tmp_path / "out", StubEngine(), part_rows=3)
    return tmp_path / "out"


def exported_name(form: str) -> str:
    return f"exported-{form}{Path(EXPORTS[form]).suffix}"


def exported(run: Path, form: str, *arguments: Any, told: str = "wrote") -> bytes:
    target = run.parent / exported_name(form)
    result = pdlm("export", run, "--to", form, target, "--overwrite", *arguments)
    assert result.exit_code == 0, result.stderr
    assert told in result.stderr
    return target.read_bytes()


def test_coco_holds_the_input_and_the_captions(finished: Path) -> None:
    exported(finished, "coco")
    coco = COCO(finished.parent / exported_name("coco"))
    rows = rows_of(finished)
    assert sorted(coco.imgs) == [1, 2, 3]
    assert coco.imgs[2] == {"id": 2, "file_name": "2.png", "width": 20, "height": 10}
    assert list(coco.anns) == ["é1", 2, 3, 4, 5]
    for row, annotation in zip(rows, coco.anns.values(), strict=True):
        assert annotation["region_key"] == row["region_key"]
        assert annotation.get("caption") == row["caption"]
        assert annotation.get("error_code") == row["error_code"]
        if row["caption"] is not None:
            assert int(coco.annToMask(annotation).sum()) == row["mask_area_px"] == annotation["area"]
            assert annotation["bbox"] == row["bbox_xywh"]
    assert {category["name"] for category in coco.cats.values()} == {"thing", "region"}
    assert [annotation["iscrowd"] for annotation in coco.anns.values()] == [0, 0, 0, 1, 0]


def test_jsonl_has_a_row_a_line(finished: Path) -> None:
    lines = [json.loads(line) for line in exported(finished, "jsonl").splitlines()]
    rows = rows_of(finished)
    assert lines == [row | {"finished_at": row["finished_at"].isoformat()} for row in rows]


def test_csv_has_all_columns(finished: Path) -> None:
    table = list(csv.DictReader(io.StringIO(exported(finished, "csv").decode(), newline="")))
    rows = rows_of(finished)
    assert [line["caption"] for line in table] == [row["caption"] or "" for row in rows]
    assert [float(table[1][name]) for name in ("bbox_x", "bbox_y", "bbox_width", "bbox_height")] == rows[1]["bbox_xywh"]
    assert table[2]["error_code"] == "bad_mask" and table[2]["bbox_x"] == ""


@pytest.mark.parametrize(
    ("form", "steps"),
    [("jsonl", [1] * 5), ("csv", [1] * 5), ("paradlc", [1] * 5), ("coco", [3, 1, 1] * 2), ("webdataset", [3, 1, 1])],
)
def test_progress_counts_every_row(form: str, steps: list[int], finished: Path, told: Mapping[str, list[int]]) -> None:
    exported(finished, form)
    assert told["rows"] == steps


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum(a)", "\t=1", " =1", "\r=1", "＝1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert safe(text) == "'" + text
    assert safe("a " + text) == "a " + text
    assert safe(-1) == -1 and safe(None) is None


def test_predictions_name_masks_as_the_benchmarks_do(finished: Path) -> None:
    predictions = json.loads(exported(finished, "paradlc"))
    rows = rows_of(finished)
    assert predictions == {row["region_id"]: {"caption": row["caption"]} for row in rows}
    assert [mask_name(OK, coco=coco) for coco in (True, False)] == ["11", "1_11"]


def test_judged_predictions_are_scored(finished: Path, tmp_path: Path) -> None:
    """What a judge adds are its answers; the captions and their names are read as they are."""
    predictions = json.loads(exported(finished, "paradlc"))
    choices = [["The thing is mentioned.", 1], ["It is not mentioned.", 0]]
    question = {"question": "Which is applicable?", "choices": choices, "type": "positive"}
    (tmp_path / "qa.json").write_text(json.dumps({name: [question] for name in predictions}))
    for prediction in predictions.values():
        if prediction["caption"] is not None:
            prediction["responses"] = ["Yes", "A"]
    (tmp_path / "judged.json").write_text(json.dumps(predictions))
    result = pdlm("eval", "score", tmp_path / "judged.json", "--json")
    assert result.exit_code == 3, result.stderr
    scores = json.loads(result.stdout)
    assert (scores["masks"], scores["missing"], scores["pos"]) == (5, 2, pytest.approx(3 / 5))


def test_webdataset_has_a_sample_an_image(finished: Path) -> None:
    data = exported(finished, "webdataset", told="1 images are left out")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    first = ["000000000.png", "000000000.mask.0.png", "000000000.mask.1.png", "000000000.json"]
    assert list(files) == [*first, "000000001.png", "000000001.mask.0.png", "000000001.json"]
    assert files["000000001.png"] == (finished.parent / "photos/2.png").read_bytes()
    about = json.loads(files["000000000.json"])
    assert [region["caption"] for region in about["regions"]] == [row["caption"] for row in rows_of(finished)[:2]]
    mask = np.asarray(Image.open(io.BytesIO(files["000000000.mask.1.png"])))
    assert np.array_equal(mask, box_mask(40, 30, 3, 2, 6, 5))
    assert exported(finished, "webdataset") == data


def test_exports_need_little_memory_at_a_time(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One part after the other is read."""
    read = []
    rows = exporting.FinishedRun.rows

    def counted(self: Any) -> Any:
        for row in rows(self):
            read.append(row.region_id)
            yield row

    class Target(io.BytesIO):
        def write(self, data: Any) -> int:
            written.append(len(read))
            return super().write(data)

    written: list[int] = []
    monkeypatch.setattr(exporting.FinishedRun, "rows", counted)
    source = exporting.ExportSource(exporting.FinishedRun(finished))
    for form in ("jsonl", "csv", "paradlc"):
        read.clear()
        written.clear()
        exporting.WRITERS[form](source, Target())
        assert {1, 2, 3, 4, 5} <= set(written)


def test_also_writes_beside_the_table(dataset: Dataset, tmp_path: Path) -> None:
    dataset.region(dataset.image(32, 32))
    dataset.write()
    command = ["caption", "--input", dataset.file, "--output", tmp_path / "out", "--dry-run-model"]
    assert pdlm(*command, "--also", "coco", "--also", "jsonl").exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"coco.json", "captions.jsonl", "_SUCCESS"}
    assert pdlm(*command, "--also", "csv").exit_code == 0
    assert (tmp_path / "out/captions.csv").exists()
    assert pdlm(*command, "--overwrite").exit_code == 0
    assert not {path.name for path in (tmp_path / "out").iterdir()} & set(EXPORTS.values())


def test_inputs_may_have_moved_but_not_changed(finished: Path, dataset: Dataset) -> None:
    moved = shutil.move(dataset.folder, dataset.folder.with_name("moved"))
    target = finished.parent / "captions.json"
    result = pdlm("export", finished, "--to", "coco", target)
    assert result.exit_code == 4
    assert "--masks say where it lies now" in result.stderr
    assert not target.exists() and not list(finished.parent.glob(".*.tmp"))
    where = ["--input", f"{moved}/masks.json", "--images", moved]
    assert exported(finished, "webdataset", *where)
    assert exported(finished, "jsonl")
    Path(moved, "masks.json").write_text(json.dumps(dataset.coco, indent=1))
    result = pdlm("export", finished, "--to", "coco", target, *where)
    assert result.exit_code == 4
    assert "it has changed" in result.stderr


def test_only_finished_runs_are_exported(finished: Path, tmp_path: Path) -> None:
    (finished / "_pdlm/done/00001.json").unlink()
    (finished / "data/part-00001.parquet").unlink()
    result = pdlm("export", finished, "--to", "csv", tmp_path / "t.csv")
    assert result.exit_code == 2
    assert "3 of 5 rows: run its command again" in result.stderr
    assert pdlm("export", tmp_path, "--to", "csv", tmp_path / "t.csv").exit_code == 2
    assert pdlm("export", finished, "--to", "xml", tmp_path / "t.xml").exit_code == 2


def test_a_file_is_not_replaced_unasked(finished: Path, dataset: Dataset) -> None:
    before = dataset.file.read_bytes()
    result = pdlm("export", finished, "--to", "coco", dataset.file)
    assert result.exit_code == 2
    assert f"{dataset.file} exists; pass --overwrite" in result.stderr
    assert dataset.file.read_bytes() == before


@pytest.mark.parametrize(("form", "name"), [("coco", "captions.csv"), ("csv", "captions"), ("webdataset", "a.tar.gz")])
def test_a_name_of_another_kind_of_file_is_refused(finished: Path, form: str, name: str) -> None:
    target = finished.parent / name
    result = pdlm("export", finished, "--to", form, target)
    assert result.exit_code == 2
    assert f"would be {form}; expected a name that ends in {Path(EXPORTS[form]).suffix}" in result.stderr
    assert not target.exists()


def test_a_target_that_cannot_be_written_is_told(finished: Path) -> None:
    result = pdlm("export", finished, "--to", "csv", finished / "no/table.csv")
    assert result.exit_code == 5
    assert f"there is no folder {finished / 'no'}" in result.stderr and "committed" not in result.stderr
    assert "cannot write" in result.stderr


def test_examples_of_the_help_run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.parent)
    for line in examples("export"):
        assert pdlm(*shlex.split(line)[1:]).exit_code == 0
