"""`pdlm inspect`, and the conversions of inputs, as commands."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pdlm_cli.conversions import TARGETS
from pdlm_cli.main import main
from tests.cli.sample_pictures import FOLDER
from tests.cli.support import Dataset, box_mask, rle
from tests.cli.test_help import ALL


def pdlm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def faulty(dataset: Dataset) -> Dataset:
    """An image of each kind of fault, and one that is well."""
    first = dataset.image()
    dataset.region(first, rle(box_mask(40, 30, 1, 1, 3, 3)))
    dataset.region(first, [[1, 1, 4, 1, 4, 4, 1, 4]])  # the same pixels
    dataset.region(first, "nonsense", category_id=9)
    dataset.region(first, rle(box_mask(40, 30, 0, 0, 0, 0)))
    dataset.region(first, rle(box_mask(30, 40, 1, 1, 3, 3)))
    dataset.region(dataset.image(write=False))
    dataset.region(dataset.image(name="\x1b[31mred.png"), {"size": [30, 40], "counts": [1200]})
    dataset.write()
    return dataset


def test_what_is_found_is_told_in_json(faulty: Dataset) -> None:
    result = pdlm("inspect", faulty.file, "--json")
    assert result.exit_code == 3, result.stderr
    found = json.loads(result.stdout)
    assert (found["format"], found["images"], found["regions"]) == ("coco-instances", 3, 7)
    assert found["regions_per_image"] == {"min": 1, "mean": pytest.approx(7 / 3), "max": 5}
    assert found["width"] == {"min": 40, "mean": 40, "max": 40}
    assert found["categories"] == {"thing": 6}
    assert found["mask_kinds"] == {"run lengths": 4, "polygons": 1, "none": 1, "uncompressed run lengths": 1}
    assert found["problems"] == {"empty_mask": 2, "bad_mask": 1, "size_mismatch": 1, "duplicate_mask": 1}
    assert found["examples"]["duplicate_mask"] == ["region 2 of image 1: the same pixels as region 1"]
    with_pictures = json.loads(pdlm("inspect", faulty.file, "--pictures", "--json").stdout)
    assert with_pictures["problems"] == found["problems"] | {"missing_image": 1}


def test_progress_counts_every_region(faulty: Dataset, told: Mapping[str, list[int]]) -> None:
    assert pdlm("inspect", faulty.file, "--pictures").exit_code == 3
    assert told["regions"] == [5, 1, 1]


@pytest.mark.parametrize("to", TARGETS)
def test_conversion_tells_of_what_is_read_and_written(to: str, faulty: Dataset, told: Mapping[str, list[int]]) -> None:
    out = faulty.folder / f"out{Path(TARGETS[to].out).suffix}"
    assert pdlm("convert", to, faulty.file, out).exit_code == 3
    assert told["records"] == [1] * sum(len(faulty.coco[key]) for key in ("images", "annotations", "categories"))
    assert told["regions"] == [5, 1, 1]


def test_tables_for_people_go_to_stderr_and_cannot_style_it(faulty: Dataset) -> None:
    faulty.coco["categories"][0]["name"] = "\x1b[31m[red]thing[/red]"
    faulty.write()
    result = pdlm("inspect", faulty.file)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "[red]thing[/red]" in result.stderr
    assert "\x1b" not in result.stderr
    assert "size_mismatch" in result.stderr


def test_what_has_no_regions_and_no_category_is_counted(faulty: Dataset) -> None:
    faulty.image()
    faulty.write()
    assert json.loads(pdlm("inspect", faulty.file, "--json").stdout)["images_without_regions"] == 1
    told = pdlm("inspect", faulty.file).stderr
    assert re.search(r"images without regions\W+1, which are left out", told)
    assert re.search(r"regions without category\W+1\W", told)


def test_duplicates_alone_are_no_error(dataset: Dataset) -> None:
    for _ in range(2):
        dataset.region(1 if dataset.coco["images"] else dataset.image(), rle(box_mask(40, 30, 1, 1, 3, 3)))
    result = pdlm("inspect", dataset.write(), "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["problems"] == {"duplicate_mask": 1}


def test_a_forged_size_costs_no_memory(dataset: Dataset) -> None:
    image = dataset.image()
    dataset.coco["images"][0] |= {"width": 1_000_000, "height": 1_000_000}
    dataset.region(image, {"size": [1_000_000, 1_000_000], "counts": [10**12]})
    result = pdlm("inspect", dataset.write(), "--json")
    assert json.loads(result.stdout)["problems"] == {"bad_image": 1}


def test_polygons_of_images_of_no_size_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"image": "a.png", "masks": [[0, 0, 2, 0, 2, 2]]}]))
    assert json.loads(pdlm("inspect", tmp_path / "a.json", "--json").stdout)["unchecked"] == 1


def test_previews_are_drawn(faulty: Dataset, tmp_path: Path) -> None:
    for _ in range(2):  # drawn over what was drawn
        result = pdlm("inspect", faulty.file, "--preview", tmp_path / "look.png", "--limit", 1, "--json")
    assert json.loads(result.stdout)["images"] == 1
    with Image.open(tmp_path / "look.png") as picture:
        assert picture.width > 300
        assert len(picture.getcolors(1 << 24) or []) > 100
    result = pdlm("inspect", faulty.file, "--preview", tmp_path / "none/look.png")
    assert result.exit_code == 5


def test_previews_name_their_pictures(tmp_path: Path) -> None:
    """The same picture and region under another name is another preview."""
    looks = []
    for name in ("first.png", "second.png", "first.png"):
        folder = tmp_path / str(len(looks))
        folder.mkdir()
        dataset = Dataset(folder)
        dataset.region(dataset.image(name=name))
        result = pdlm("inspect", dataset.write(), "--preview", folder / "look.png")
        assert result.exit_code == 0, result.stderr
        looks.append((folder / "look.png").read_bytes())
    assert looks[0] == looks[2] != looks[1]


def test_previews_of_no_kind_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    result = pdlm("inspect", tmp_path / "nothing.json", "--preview", tmp_path / "look.txt")
    assert result.exit_code == 2
    assert "does not end in .png or .jpg" in result.stderr


@pytest.mark.parametrize("to", [to for to in TARGETS if to not in ("panoptic", "folder")])
def test_regions_that_fail_keep_their_rows_through_conversions(to: str, faulty: Dataset, tmp_path: Path) -> None:
    """What captioning the copies would say is what captioning the original would."""
    problems = json.loads(pdlm("inspect", faulty.file, "--json").stdout)["problems"]
    images, copy = ["--images", faulty.folder], (tmp_path / "copy").with_suffix(Path(TARGETS[to].out).suffix)
    result = pdlm("convert", to, faulty.file, copy, "--json", *images)
    assert result.exit_code == 3
    converted = json.loads(result.stdout)
    assert (converted["images"], converted["regions"]) == (3, 7)
    assert converted["errors"] == {"bad_mask": 1, "empty_mask": 2}
    assert "bad_mask" in result.stderr
    found = json.loads(pdlm("inspect", copy, "--pictures", "--json", *images).stdout)
    assert (found["format"], found["regions"]) == (TARGETS[to].format, 7)
    assert found["problems"] == problems | {"missing_image": 1}


def test_regions_that_fail_are_left_out_where_masks_are_pictures(faulty: Dataset, tmp_path: Path) -> None:
    images = ["--images", faulty.folder]
    result = pdlm("convert", "panoptic", faulty.file, tmp_path / "a.json", "--json", *images)
    assert result.exit_code == 3
    errors = {"bad_mask": 1, "empty_mask": 2, "size_mismatch": 1, "overlap": 1}
    assert json.loads(result.stdout)["errors"] == errors
    found = json.loads(pdlm("inspect", tmp_path / "a.json", "--pictures", "--json", *images).stdout)
    assert (found["format"], found["regions"], found["problems"]) == ("coco-panoptic", 2, {"missing_image": 1})
    result = pdlm("convert", "folder", faulty.file, tmp_path / "b", "--json", *images)
    assert result.exit_code == 3
    assert json.loads(result.stdout)["errors"] == {"bad_mask": 1, "empty_mask": 2, "missing_image": 1}
    found = json.loads(pdlm("inspect", tmp_path / "b", "--pictures", "--json").stdout)
    assert (found["format"], found["images"], found["regions"]) == ("image-folder", 1, 3)
    assert found["problems"] == {"size_mismatch": 1, "duplicate_mask": 1}


def test_outputs_are_only_replaced_when_told(tmp_path: Path) -> None:
    source, out = FOLDER / "coco/masks.json", tmp_path / "a.parquet"
    assert pdlm("convert", "manifest", source, out).exit_code == 0
    result = pdlm("convert", "manifest", source, out)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert pdlm("convert", "manifest", source, out, "--overwrite", "--embed").exit_code == 0
    assert pdlm("convert", "coco", source, tmp_path / "none/a.json").exit_code == 5


def test_inputs_that_cannot_be_read_exit_4(tmp_path: Path) -> None:
    for command in (["inspect"], *(["convert", to] for to in TARGETS)):
        out = [tmp_path / f"out{Path(TARGETS[to].out).suffix}" for to in command[1:]]
        result = pdlm(*command, tmp_path / "none.json", *out)
        assert result.exit_code == 4
        assert "none.json" in result.stderr
    assert pdlm("inspect", FOLDER / "coco/masks.json", "--images", tmp_path / "none").exit_code == 4


EXAMPLES = [
    line.strip()
    for path in (("inspect",), *(("convert", to) for to in TARGETS))
    for line in (ALL[path].help or "").split("Examples:")[1].splitlines()
    if line.strip().startswith("pdlm")
]


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_of_the_help_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    (tmp_path / "masks.json").write_bytes((FOLDER / "coco/masks.json").read_bytes())
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "photos" / name).write_bytes((FOLDER / "coco" / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    result = pdlm(*shlex.split(line)[1:])
    assert result.exit_code == 0, result.stderr
