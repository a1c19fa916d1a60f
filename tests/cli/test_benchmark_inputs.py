"""Annotations of both benchmarks, read whole: BENCHMARKS=FOLDER make test PYTEST_ARGS="-m benchmarks".

FOLDER holds their public releases, `paradlc/annotations.json`, `paradlc/qa.json` and `dlc/annotations.json`.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pdlm_cli.inspection import inspect
from pdlm_cli.masks import decode
from pdlm_cli.sources import open_with_sources

pytestmark = pytest.mark.benchmarks


@pytest.mark.parametrize(
    ("name", "format", "images", "regions"),
    [("paradlc", "paradlc-bench", 100, 299), ("dlc", "coco-instances", 77, 100)],
)
def test_every_region_is_read(name: str, format: str, images: int, regions: int) -> None:
    folder = Path(os.environ["BENCHMARKS"]) / name
    manifest, sources = open_with_sources(str(folder / "annotations.json"))
    assert (manifest.format, manifest.images, manifest.regions) == (format, images, regions)
    found = inspect(manifest, sources, pictures=False)
    assert not found.problems
    assert sum(of_one * count for of_one, count in found.regions_per_image.items()) == regions
    for entry in manifest:
        for region in entry.regions:
            rle = region.segmentation
            height, width = rle["size"]
            assert np.array_equal(decode(rle, width, height), coco_mask.decode(rle))
    if name == "paradlc":
        questions = json.loads((folder / "qa.json").read_text())
        assert {region.region_id for entry in manifest for region in entry.regions} == questions.keys()
