"""Annotations of both benchmarks, read whole: BENCHMARKS=FOLDER make test PYTEST_ARGS="-m benchmarks".

FOLDER holds their public releases, `paradlc/annotations.json`, `paradlc/qa.json` and `dlc/annotations.json`.
"""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pdlm_cli.conversions import TARGETS
from pdlm_cli.input_conversion import convert
from pdlm_cli.inspection import inspect
from pdlm_cli.masks import decode, pack
from pdlm_cli.sources import MaskReader, open_with_sources

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


def masks_of(path: Path) -> tuple[str, Counter[tuple[str, str, str | None]]]:
    """The format of an input; of each region its image, the hash of its pixels and its category."""
    manifest, sources = open_with_sources(str(path))
    found: Counter[tuple[str, str, str | None]] = Counter()
    for entry in manifest:
        masks, size = MaskReader(sources, entry), sources.drawn_on(entry)
        assert size is not None
        for region in entry.regions:
            found[entry.file_name, pack(masks.pixels(region, size)).digest, region.category] += 1
    return manifest.format, found


@pytest.mark.parametrize("to", [to for to in TARGETS if to != "folder"])  # which needs the pictures
@pytest.mark.parametrize("name", ["paradlc", "dlc"])
def test_every_region_is_converted_there_and_back(name: str, to: str, tmp_path: Path) -> None:
    """To each format, and from there to COCO."""
    benchmark = Path(os.environ["BENCHMARKS"]) / name / "annotations.json"
    middle = tmp_path / ("middle" if TARGETS[to].is_folder else "middle.json")
    last = tmp_path / "last.json"
    converted = convert(to, *open_with_sources(str(benchmark)), middle)
    left_out = converted.errors["overlap"]
    assert converted.errors.total() == left_out
    assert to == "panoptic" or not left_out
    assert convert("coco", *open_with_sources(str(middle)), last).exit_code == 0
    _, before = masks_of(benchmark)
    for path, format in ((middle, TARGETS[to].format), (last, "coco-instances")):
        found, after = masks_of(path)
        assert found == format
        if to in ("sa1b", "plain", "training"):  # which have no categories
            before = Counter((image, digest, None) for image, digest, _ in before.elements())
        assert after <= before
        assert before.total() - after.total() == left_out
    print(f"{name} to {to}: {after.total()} regions, {left_out} left out")
