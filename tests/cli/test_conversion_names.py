"""Names and ids that conversions give, and folders that they make and replace."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pdlm_cli import atomic
from pdlm_cli.conversions.folders import SIGN
from pdlm_cli.errors import ConfigError, OutputError
from pdlm_cli.input_conversion import check_output
from tests.cli.sample_pictures import FOLDER
from tests.cli.support import Dataset
from tests.cli.test_conversions import ids, opened, output, pdlm, regions_of


def test_pictures_are_never_taken_for_masks_of_others(dataset: Dataset, tmp_path: Path) -> None:
    """Names that mean something in a folder, one stem with two endings, one picture under two ids, folders."""
    names = ["a.png", "a_1.png", "b_1.png", "b.png", "a.jpg", "b_mask_2.jpg", "masks/c.png", "d/a.png", "d/a.png"]
    for name in names:
        dataset.region(dataset.image(name=name))
    result = pdlm("convert", "folder", dataset.write(), tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["not_held"] == {"categories": 9, "image ids": 9}
    back = regions_of(tmp_path / "out")
    assert sorted(back) == sorted(
        ["a.png", "a_1~1.png", "b_1.png", "b~1.png", "a~1.jpg", "b_mask_2.jpg", "c.png", "d/a.png", "d/a~1.png"]
    )
    assert [regions[0].region_id for _, regions in sorted(back.items())] == [
        str(1 + number) for number in (0, 1, 4, 2, 5, 3, 6, 7, 8)
    ]


@pytest.mark.parametrize("to", ["folder", "sa1b", "panoptic"])
def test_no_file_is_written_outside_of_the_folder(to: str, dataset: Dataset, tmp_path: Path) -> None:
    for name in ("../../up.png", "/etc/rooted.png", "x" * 300 + ".png", "nul\0.png", "..", "a/../b.png"):
        dataset.region(dataset.image(name=name, write=False), id=name)
    Image.new("RGB", (40, 30)).save(dataset.folder / "b.png")
    (tmp_path / "below/it").mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    out = output(tmp_path / "below/it", to)
    result = pdlm("convert", to, dataset.write(), out, "--images", dataset.folder, "--json")
    assert result.exit_code == (3 if to == "folder" else 0), result.stderr
    new = set(tmp_path.rglob("*")) - before - {dataset.file}
    assert all(path.is_relative_to(out.with_suffix("")) or path == out for path in new)
    assert opened(out, images=str(dataset.folder))[0].images == (1 if to == "folder" else 6)


@pytest.mark.parametrize("to", ["folder", "sa1b", "panoptic"])
def test_only_folders_of_conversions_are_replaced(to: str, tmp_path: Path) -> None:
    source, out = FOLDER / "coco/masks.json", output(tmp_path, to)
    folder = out.with_suffix("")
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    for options in ([], ["--overwrite"]):
        result = pdlm("convert", to, source, out, *options)
        assert result.exit_code == 2
        assert ("was not made by" if options else "--overwrite") in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == [folder.name, "precious.txt"]
    (folder / "precious.txt").unlink()
    for _ in range(2):
        (folder / "of the last time").write_text("")
        (folder / SIGN).write_text("")
        assert pdlm("convert", to, source, out, "--overwrite").exit_code == 0
        assert not (folder / "of the last time").exists()
    assert regions_of(out).keys() == ({"a.png", "b.png"} if to == "folder" else {"0", "1"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({folder.name, out.name})


def test_panoptic_needs_a_name_that_its_folder_can_be_told_from(tmp_path: Path) -> None:
    result = pdlm("convert", "panoptic", FOLDER / "coco/masks.json", tmp_path / "out")
    assert result.exit_code == 2
    assert ".json" in result.stderr
    check_output("panoptic", tmp_path / "out.json", overwrite=False)


@pytest.mark.parametrize(
    ("to", "name", "message"),
    [
        ("manifest", "out.json", "ends in .parquet"),
        ("coco", "out.parquet", "ends in .json"),
        ("coco", "out.txt", "ends in .json"),
        ("plain", "out", "ends in .json"),
    ],
)
def test_a_name_of_another_kind_of_file_is_refused(to: str, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        check_output(to, tmp_path / name, overwrite=True)


def test_a_folder_that_fails_halfway_leaves_the_old_one(tmp_path: Path) -> None:
    with atomic.open_folder(tmp_path / "a") as folder:
        (folder / "old").touch()
    with pytest.raises(OutputError, match="cannot write"), atomic.open_folder(tmp_path / "a") as folder:
        (folder / "none/new").touch()
    with pytest.raises(OutputError, match="cannot write"), atomic.open_folder(tmp_path / "a") as folder:
        folder.rmdir()  # so that the old folder has stepped aside when the new one cannot take its place
    with pytest.raises(KeyboardInterrupt), atomic.open_folder(tmp_path / "a") as folder:
        raise KeyboardInterrupt
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [Path("a"), Path("a/old")]
    with atomic.open_folder(tmp_path / "a") as folder:
        (folder / "new").touch()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [Path("a"), Path("a/new")]


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    """As to a larger disk; what it leads to is replaced."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    for name in ("first", "second"):
        with atomic.open_folder(tmp_path / "out") as folder:
            (folder / name).touch()
    assert (tmp_path / "out").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["second"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "out"]


def test_addresses_of_lvis_hold_any_file_name(dataset: Dataset, tmp_path: Path) -> None:
    names = ["a b.png", "50%.png", "%41.png", "d/e.png", "q?.png", "f#g.png", "12:30.png"]
    for name in names:
        dataset.region(dataset.image(name=name))
    assert pdlm("convert", "lvis", dataset.write(), tmp_path / "lvis.json").exit_code == 0
    found, sources = opened(tmp_path / "lvis.json", images=str(dataset.folder))
    assert [entry.file_name for entry in found] == names
    assert [sources.picture(entry).size for entry in found] == [(40, 30)] * len(names)
    assert json.loads((tmp_path / "lvis.json").read_text())["images"][0]["coco_url"] == "./a%20b.png"


def test_keys_of_paradlc_are_never_shared(tmp_path: Path) -> None:
    """Image 1 with region "2_3", and image "1_2" with region 3."""
    rows = [("1", "2_3"), ("1", "1_7"), ("1", "7"), ("1", "0"), ("1_2", "3")]
    images = [{"id": image, "file_name": "a.png"} for image in ("1", "1_2")]
    annotations = [
        {"id": region, "image_id": image, "segmentation": {"size": [1, 1], "counts": [0, 1]}} for image, region in rows
    ]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    result = pdlm("convert", "paradlc", tmp_path / "a.json", tmp_path / "b.json", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["not_held"] == {"region ids": 2}
    assert ids(list(opened(tmp_path / "b.json")[0])) == [["1_1", "1_7", "1_2", "1_0"], ["1_2_3"]]
