"""The example data is what its script makes, and holds every way COCO writes a region."""

import json

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from examples.coco import make_masks
from tests.repo.files import ROOT

FOLDER = ROOT / "examples" / "coco"


def test_files_are_what_the_script_makes():
    assert json.loads((FOLDER / "masks.json").read_text()) == make_masks.coco_file()
    with Image.open(FOLDER / "shapes.png") as committed:
        assert np.array_equal(np.asarray(committed), np.asarray(make_masks.draw_shapes()))


def test_every_way_of_writing_a_region_is_there():
    segmentations = [entry["segmentation"] for entry in json.loads((FOLDER / "masks.json").read_text())["annotations"]]
    kinds = {"polygon" if isinstance(s, list) else type(s["counts"]).__name__ for s in segmentations}
    assert kinds == {"polygon", "str", "list"}


def test_pycocotools_reads_it_as_it_was_meant(capsys):
    coco = COCO(FOLDER / "masks.json")
    assert len(coco.imgs) == 2
    for region in coco.anns.values():
        mask = coco.annToMask(region)
        image = coco.imgs[region["image_id"]]
        with Image.open(ROOT / "examples" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == mask.shape[::-1]
        assert int(mask.sum()) == region["area"]
        x, y, width, height = region["bbox"]
        assert mask[y : y + height, x : x + width].sum() == region["area"]
