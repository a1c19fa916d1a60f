"""Exports of runs over every input format: what is written can be read again, by us and by others."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pycocotools.coco import COCO

from pdlm_cli import strict_json
from pdlm_cli.main import main
from tests.cli.support import Dataset, box_mask
from tests.cli.test_captioning import rows_of
from tests.cli.test_inputs import FILES
from tests.cli.written_inputs import FOLDER, SAMPLE, WRITERS

MASKS = [mask for picture in SAMPLE for mask in picture.masks]
FORMS = ("--also", "coco", "--also", "paradlc", "--also", "webdataset")


def pdlm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_exported(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = pdlm("caption", "--input", FOLDER / name / FILES.get(name, ""), "--output", out, "--dry-run-model", *FORMS)
    assert result.exit_code == 0, result.output
    rows = rows_of(out)

    coco = COCO(out / "coco.json")
    assert [annotation["caption"] for annotation in coco.anns.values()] == [row["caption"] for row in rows]
    found = [coco.annToMask(annotation).astype(bool) for annotation in coco.anns.values()]
    assert all(np.array_equal(mask, expected) for mask, expected in zip(found, MASKS, strict=True))

    predictions = strict_json.loads((out / "paradlc.json").read_bytes())
    assert [said["caption"] for said in predictions.values()] == [row["caption"] for row in rows]

    with tarfile.open(out / "webdataset.tar") as tar:
        assert [member for member in tar.getnames() if ".mask." not in member] == [
            f"{number:09d}.{ending}" for number in range(len(SAMPLE)) for ending in ("png", "json")
        ]


def test_masks_that_coco_cannot_write_become_run_lengths(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    masks = [[3, 4, 5, 6], [[3, 4, 8, 4, 8, 10, 3, 10]]]
    whole = [{"image": "a.png", "annotations": [{"caption": "", "segmentation": None}]}]
    for name, value in (("plain", [{"image": "a.png", "masks": masks}]), ("training", whole)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
        arguments = ("--input", tmp_path / f"{name}.json", "--output", tmp_path / name, "--dry-run-model")
        assert pdlm("caption", *arguments, "--also", "coco").exit_code == 0
    box, polygon = COCO(tmp_path / "plain/coco.json").loadAnns([0, 1])
    drawn = COCO(tmp_path / "plain/coco.json").annToMask(box).astype(bool)
    assert np.array_equal(drawn, box_mask(40, 30, 3, 4, 5, 6))
    assert polygon["segmentation"] == masks[1]
    training = COCO(tmp_path / "training/coco.json")
    assert training.annToMask(training.anns[0]).all()


def test_members_of_a_tar_end_as_their_pictures_are(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    for name in ("a.JPG", "b", "c." + "x" * 120, "d.json"):
        dataset.region(dataset.image(name="lost.png", write=False))
        dataset.coco["images"][-1]["file_name"] = name
        with open(tmp_path / name, "wb") as file:
            Image.new("RGB", (40, 30)).save(file, "JPEG")
    dataset.write()
    out = tmp_path / "out"
    assert (
        pdlm("caption", "--input", dataset.file, "--output", out, "--dry-run-model", "--also", "webdataset").exit_code
        == 0
    )
    with tarfile.open(out / "webdataset.tar") as tar:
        pictures = [name for name in tar.getnames() if ".mask." not in name and not name.endswith(".json")]
    assert pictures == ["000000000.jpg", "000000001.jpeg", "000000002.jpeg", "000000003.jpeg"]


def test_masks_that_are_gone_are_said(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "panoptic", tmp_path / "input")
    out = tmp_path / "out"
    assert (
        pdlm("caption", "--input", tmp_path / "input/panoptic.json", "--output", out, "--dry-run-model").exit_code == 0
    )
    for mask in (tmp_path / "input/panoptic").glob("*.png"):
        mask.unlink()
    result = pdlm("export", out, "--to", "coco", tmp_path / "coco.json")
    assert result.exit_code == 4
    assert "the masks of" in result.stderr and not (tmp_path / "coco.json").exists()
