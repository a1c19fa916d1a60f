"""Incremental runs: what an earlier run has done is left out, what has changed or failed is not."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.manifest import open_manifest
from tests.cli.runs import rows_of, run
from tests.cli.support import Dataset, StubEngine, box_mask, rle


def names(out: Path) -> list[str]:
    return sorted({row["image_id"] for row in rows_of(out)})


def content(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_only_new_and_changed_and_failed_images_are_captioned(dataset: Dataset, tmp_path: Path) -> None:
    for _ in range(5):
        dataset.region(dataset.image())
    dataset.coco["images"][3]["file_name"] = "lost.png"
    run(dataset, tmp_path / "first", StubEngine())
    run(dataset, tmp_path / "same", StubEngine(), since=(tmp_path / "first",))
    assert names(tmp_path / "same") == ["4"]  # an error is no result

    dataset.coco["annotations"][0]["segmentation"] = rle(box_mask(40, 30, 9, 9, 9, 9))
    dataset.region(2)
    (dataset.folder / "5.png").rename(dataset.folder / "renamed.png")
    dataset.coco["images"][4]["file_name"] = "renamed.png"
    dataset.region(dataset.image())
    run(dataset, tmp_path / "second", StubEngine(), since=(tmp_path / "first",))
    assert names(tmp_path / "second") == ["1", "2", "4", "6"]  # 5 only has another name
    assert [row["region_id"] for row in rows_of(tmp_path / "second") if row["image_id"] == "2"] == ["2", "6"]
    run(dataset, tmp_path / "third", StubEngine(), since=(tmp_path / "first", tmp_path / "second"))
    assert names(tmp_path / "third") == ["4"]


def test_a_picture_of_other_content_is_captioned_again(dataset: Dataset, tmp_path: Path) -> None:
    for _ in range(2):
        dataset.region(dataset.image())
    run(dataset, tmp_path / "first", StubEngine())
    files = [dataset.folder / row["image_path"] for row in rows_of(tmp_path / "first")]
    assert [row["image_sha256"] for row in rows_of(tmp_path / "first")] == [content(file) for file in files]
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(dataset.folder / "1.png")
    run(dataset, tmp_path / "second", StubEngine(), since=(tmp_path / "first",))
    assert names(tmp_path / "second") == ["1"]


def test_a_picture_of_another_name_is_not_captioned_again(dataset: Dataset, tmp_path: Path) -> None:
    """In a folder too, where its mask pictures are renamed with it."""
    photos = tmp_path / "photos"
    for name in ("a", "b"):
        (photos / "masks" / name).mkdir(parents=True)
        (dataset.folder / f"{dataset.image()}.png").rename(photos / f"{name}.png")
        Image.fromarray(box_mask(40, 30, 3, 2, 6, 5)).save(photos / "masks" / name / "1.png")
    run(dataset, tmp_path / "first", StubEngine(), input=str(photos))
    assert len(names(tmp_path / "first")) == 2

    (photos / "a.png").rename(photos / "moved.png")
    (photos / "masks/a").rename(photos / "masks/moved")
    run(dataset, tmp_path / "second", StubEngine(), input=str(photos), since=(tmp_path / "first",))
    assert names(tmp_path / "second") == []

    (photos / "b.png").write_bytes((photos / "moved.png").read_bytes())  # a name from before, and that content too
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(photos / "moved.png")
    Image.fromarray(box_mask(40, 30, 9, 9, 4, 4)).save(photos / "masks/b/2.png")
    run(dataset, tmp_path / "third", StubEngine(), input=str(photos), since=(tmp_path / "first",))
    assert names(tmp_path / "third") == ["b.png", "moved.png"]


def test_the_table_of_an_older_version_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    dataset.region(dataset.image())
    run(dataset, tmp_path / "first", StubEngine())
    (part,) = (tmp_path / "first/data").glob("*.parquet")
    pq.write_table(pq.read_table(part).drop_columns(["image_sha256"]), part)
    with pytest.raises(InputError, match="has no image_sha256: it is of another version"):
        run(dataset, tmp_path / "second", StubEngine(), since=(tmp_path / "first",))


def test_since_is_part_of_the_plan(dataset: Dataset, tmp_path: Path) -> None:
    import json

    for _ in range(2):
        dataset.region(dataset.image())
    run(dataset, tmp_path / "first", StubEngine(), limit=1)
    plans = set()
    for name, since in (("a", ()), ("b", (tmp_path / "first",))):
        run(dataset, tmp_path / name, StubEngine(), since=since)
        plans.add(json.loads((tmp_path / name / "_pdlm/run.json").read_text())["hashes"]["plan"])
    assert len(plans) == 2


def test_what_is_no_run_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    dataset.region(dataset.image())
    with pytest.raises(ConfigError, match="expected the output of an earlier run"):
        run(dataset, tmp_path / "a", StubEngine(), since=(tmp_path / "none",))
    (tmp_path / "odd/data").mkdir(parents=True)
    (tmp_path / "odd/data/part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="of an earlier run"):
        run(dataset, tmp_path / "b", StubEngine(), since=(tmp_path / "odd",))


def test_nothing_is_left_of_an_index(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    dataset.region(dataset.image())
    before = sorted(tmp_path.rglob("*"))
    manifest = open_manifest(dataset.write())
    assert manifest.images == 1
    del manifest
    assert sorted(path for path in tmp_path.rglob("*") if path not in before) == [dataset.file]
