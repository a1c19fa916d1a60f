"""Incremental runs: what an earlier run has done is left out, what has changed or failed is not."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.finished import FinishedRun
from pdlm_cli.manifest import Manifest, open_manifest
from pdlm_cli.markers import marker_path
from pdlm_cli.regions import mask_sha256, region_key
from tests.cli.runs import rows_of, run
from tests.cli.sample_pictures import FOLDER
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
    dataset.region(dataset.image())
    run(dataset, tmp_path / "second", StubEngine(), since=(tmp_path / "first",))
    assert names(tmp_path / "second") == ["1", "2", "4", "6"]
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


@pytest.mark.parametrize(("field", "name"), [("file_name", "copy.png"), ("id", 7)])
def test_a_copy_or_another_name_has_rows_of_its_own(dataset: Dataset, tmp_path: Path, field: str, name: Any) -> None:
    """So that who looks for it by its path, or by its id, finds it; content alone may be asked for."""
    for _ in range(2):
        dataset.region(dataset.image())
    run(dataset, tmp_path / "first", StubEngine())
    (dataset.folder / "copy.png").write_bytes((dataset.folder / "2.png").read_bytes())
    dataset.coco["images"][1][field] = name
    dataset.coco["annotations"][1]["image_id"] = dataset.coco["images"][1]["id"]
    for by, expected in (("name", [2]), ("content", [])):
        run(dataset, tmp_path / by, StubEngine(), since=(tmp_path / "first",), since_by=by)
        assert [row["source_index"] + 1 for row in rows_of(tmp_path / by)] == expected
    run(dataset, tmp_path / "third", StubEngine(), since=(tmp_path / "first", tmp_path / "name"))
    assert rows_of(tmp_path / "third") == []


def test_by_content_a_picture_of_another_name_is_not_captioned_again(dataset: Dataset, tmp_path: Path) -> None:
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
    since = {"input": str(photos), "since": (tmp_path / "first",)}
    run(dataset, tmp_path / "second", StubEngine(), **since, since_by="content")
    assert names(tmp_path / "second") == []
    run(dataset, tmp_path / "named", StubEngine(), **since)
    assert names(tmp_path / "named") == ["moved.png"]

    (photos / "b.png").write_bytes((photos / "moved.png").read_bytes())  # a name from before, and that content too
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(photos / "moved.png")
    Image.fromarray(box_mask(40, 30, 9, 9, 4, 4)).save(photos / "masks/b/2.png")
    run(dataset, tmp_path / "third", StubEngine(), **since, since_by="content")
    assert names(tmp_path / "third") == ["b.png", "moved.png"]


def prompts(file: Path, regions: dict[str, str | None], dataset: Dataset) -> dict[str, Any]:
    """An input of one region a picture, by the picture's name, with what is asked of it."""
    mask = rle(box_mask(40, 30, 3, 2, 6, 5))
    columns = {
        "image_path": list(regions),
        "image_id": list(regions),
        "region_id": ["1"] * len(regions),
        "rle_counts": [mask["counts"]] * len(regions),
        "rle_size": pa.array([mask["size"]] * len(regions), pa.list_(pa.int32(), 2)),
        "prompt": pa.array(regions.values(), pa.string()),
    }
    pq.write_table(pa.table(columns), file)
    return {"input": str(file), "images": str(dataset.folder)}


def test_what_is_asked_something_else_is_new(dataset: Dataset, tmp_path: Path) -> None:
    names_of = [dataset.coco["images"][dataset.image() - 1]["file_name"] for _ in range(4)]
    before, after = (None, "color?", "color?", ""), ("color?", None, "place?", None)
    first = prompts(tmp_path / "a.parquet", dict(zip(names_of, before, strict=True)), dataset)
    run(dataset, tmp_path / "first", StubEngine(), **first)
    assert [row["prompt"] for row in rows_of(tmp_path / "first")] == [None, "color?", "color?", None]
    run(dataset, tmp_path / "same", StubEngine(), **first, since=(tmp_path / "first",))
    assert names(tmp_path / "same") == []
    second = prompts(tmp_path / "b.parquet", dict(zip(names_of, after, strict=True)), dataset)
    for by in ("name", "content"):
        run(dataset, tmp_path / by, StubEngine(), **second, since=(tmp_path / "first",), since_by=by)
        assert names(tmp_path / by) == names_of[:3]


def panoptic(folder: Path) -> tuple[dict[str, Any], Path]:
    """An input of two pictures, and the mask picture of the second."""
    shutil.copytree(FOLDER / "panoptic", folder)
    second = json.loads((folder / "panoptic.json").read_text())["annotations"][1]
    return {"input": str(folder / "panoptic.json"), "images": str(folder)}, folder / "panoptic" / second["file_name"]


def plain(folder: Path) -> tuple[dict[str, Any], Path]:
    """The same as a plain list of names."""
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (40, 30), (9, 9, number)).save(folder / f"{number}.png")
        Image.fromarray(box_mask(40, 30, 3, 2, 6, 5)).save(folder / f"mask{number}.png")
    listed = [{"image": f"{number}.png", "masks": [f"mask{number}.png"]} for number in range(2)]
    (folder / "list.json").write_text(json.dumps(listed))
    return {"input": str(folder / "list.json"), "images": str(folder)}, folder / "mask1.png"


@pytest.mark.parametrize("written", [panoptic, plain])
def test_a_mask_picture_that_has_changed_is_seen(
    dataset: Dataset, tmp_path: Path, written: Callable[[Path], tuple[dict[str, Any], Path]]
) -> None:
    """Where the input has no more than its name."""
    same, drawn = written(tmp_path / "input")
    run(dataset, tmp_path / "first", StubEngine(), **same)
    images = names(tmp_path / "first")
    run(dataset, tmp_path / "same", StubEngine(), **same, since=(tmp_path / "first",))
    assert names(tmp_path / "same") == []
    with Image.open(drawn) as opened:
        pixels = np.array(opened)
    pixels[0, 0] = ~pixels[0, 0]
    Image.fromarray(pixels).save(drawn)
    run(dataset, tmp_path / "second", StubEngine(), **same, since=(tmp_path / "first",))
    assert names(tmp_path / "second") == images[1:]


def test_what_was_skipped_is_done_if_it_would_be_skipped_again(dataset: Dataset, tmp_path: Path) -> None:
    small = rle(box_mask(40, 30, 1, 1, 3, 4))  # 12 pixels
    dataset.region(dataset.image(), small)
    dataset.region(dataset.image(), rle(box_mask(40, 30, 1, 1, 30, 20)), iscrowd=1)
    run(dataset, tmp_path / "first", StubEngine(), min_area=20, skip_crowd=True)
    assert [row["status"] for row in rows_of(tmp_path / "first")] == ["skipped"] * 2
    for number, (min_area, skip_crowd, left) in enumerate(
        [(20, True, []), (13, True, []), (12, True, ["1"]), (0, False, ["1", "2"]), (601, False, [])]
    ):
        out = tmp_path / str(number)
        settings: dict[str, Any] = {"min_area": min_area, "skip_crowd": skip_crowd}
        run(dataset, out, StubEngine(), since=(tmp_path / "first",), **settings)
        assert names(out) == left, settings


def as_version_2(out: Path) -> None:
    """A run as it was without prompts and skipped rows, with masks in mask pictures told by their place."""
    (part,) = (out / "data").glob("*.parquet")
    table = pq.read_table(part).drop_columns(["prompt"])
    keys = {region_key(entry, region): mask_sha256(region) for entry in again(out) for region in entry.regions}
    places = pa.array([keys[key] for key in table["region_key"].to_pylist()])
    pq.write_table(table.set_column(table.schema.get_field_index("mask_sha256"), "mask_sha256", places), part)
    marker = json.loads(marker_path(out, 0).read_text())
    del marker["skipped"]
    marker_path(out, 0).write_text(json.dumps(marker | {"bytes": part.stat().st_size, "sha256": content(part)}))


def again(out: Path) -> Manifest:
    return open_manifest(json.loads((out / "_pdlm/run.json").read_text())["job"]["input"])


def test_the_table_of_version_2_is_read(dataset: Dataset, tmp_path: Path) -> None:
    same, _ = panoptic(tmp_path / "input")
    run(dataset, tmp_path / "first", StubEngine(), **same)
    as_version_2(tmp_path / "first")
    assert {row.prompt for row in FinishedRun(tmp_path / "first").rows()} == {None}
    run(dataset, tmp_path / "second", StubEngine(), **same, since=(tmp_path / "first",))
    assert names(tmp_path / "second") == []
    names_of = [dataset.coco["images"][dataset.image() - 1]["file_name"] for _ in range(2)]
    asked = prompts(tmp_path / "a.parquet", dict(zip(names_of, (None, "color?"), strict=True)), dataset)
    run(dataset, tmp_path / "third", StubEngine(), **asked)
    as_version_2(tmp_path / "third")
    run(dataset, tmp_path / "fourth", StubEngine(), **asked, since=(tmp_path / "third",))
    assert names(tmp_path / "fourth") == names_of[1:]  # nobody knows what was asked


def test_the_table_of_an_older_version_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    dataset.region(dataset.image())
    run(dataset, tmp_path / "first", StubEngine())
    (part,) = (tmp_path / "first/data").glob("*.parquet")
    pq.write_table(pq.read_table(part).drop_columns(["image_sha256"]), part)
    with pytest.raises(InputError, match="has no image_sha256: it is of another version"):
        run(dataset, tmp_path / "second", StubEngine(), since=(tmp_path / "first",))


def test_progress_counts_every_picture(dataset: Dataset, tmp_path: Path, told: Mapping[str, list[int]]) -> None:
    for _ in range(3):
        dataset.region(dataset.image())
    run(dataset, tmp_path / "first", StubEngine(), limit=2)
    run(dataset, tmp_path / "second", StubEngine(), since=(tmp_path / "first",))
    assert told["pictures"] == [1, 1, 1]


def test_since_is_part_of_the_plan(dataset: Dataset, tmp_path: Path) -> None:
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
