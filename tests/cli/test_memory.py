"""Large inputs in bounded memory, measured in a process of its own. The largest ones: `-m soak`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.support import REPOSITORY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

READ = """
import re, sys
from pdlm_cli.manifest import open_manifest
from pdlm_cli.sources import open_sources
def peak():
    # Not ru_maxrss, which a process has from the one that started it.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) >> 10
before = peak()
manifest = open_manifest(sys.argv[1])
sources = open_sources(manifest)
regions = held = 0
for entry in manifest:
    regions += len(entry.regions)
    if entry.embedded is not None:
        with sources.open(entry) as file:
            held += len(file.read())
assert regions == manifest.regions
print(before, peak(), manifest.images, regions, held)
"""

CONVERT = """
import re, sys
from pathlib import Path
from pdlm_cli.input_conversion import convert
from pdlm_cli.sources import open_with_sources
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) >> 10
found = open_with_sources(sys.argv[1])
before = peak()
converted = convert(sys.argv[2], *found, Path(sys.argv[3]))
print(before, peak(), converted.images, converted.regions, converted.errors.total())
"""


def measured(path: Path) -> tuple[int, int, int, int]:
    """MiB that reading a whole input adds to the process, images, regions, bytes of pictures."""
    before, after, images, regions, held = printed(READ, path)
    print(f"{path.name}: {path.stat().st_size >> 20} MiB, {images} images, {regions} regions: {after - before} MiB")
    return after - before, images, regions, held


def printed(script: str, *arguments: object) -> list[int]:
    """The numbers that a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [*map(int, done.stdout.split())]


def large_coco(path: Path, mebibytes: int) -> tuple[int, int]:
    """Polygons of about a kilobyte, scattered over the images; annotations before images."""
    points = [round(float(n), 2) for n in np.random.default_rng(0).uniform(0, 500, 140)]
    polygon = json.dumps([points])
    regions = (mebibytes << 20) // (len(polygon) + 100)
    images = max(1, regions // 7)
    with open(path, "w") as file:
        file.write('{"annotations": [')
        for i in range(regions):
            file.write(
                f'{"," if i else ""}\n{{"id": {i}, "image_id": {i * 7919 % images}, "category_id": 1, "iscrowd": 0, '
                f'"bbox": [0, 0, 1, 1], "segmentation": {polygon}}}'
            )
        file.write('], "images": [')
        for i in range(images):
            file.write(f'{"," if i else ""}\n{{"id": {i}, "file_name": "{i}.jpg", "width": 500, "height": 500}}')
        file.write('], "categories": [{"id": 1, "name": "thing"}]}')
    return images, regions


RLE_COLUMNS = [("rle_counts", pa.string()), ("rle_size", pa.list_(pa.int32(), 2))]
IDS = [("image_id", pa.string()), ("region_id", pa.string())]


def manifest_of_pictures(path: Path, pictures: int) -> None:
    """Pictures of a MiB, a row each, all in one row group, but a page each."""
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), *IDS, *RLE_COLUMNS])
    noise = np.random.default_rng(0)
    columns = {
        "image": [{"bytes": noise.bytes(1 << 20), "path": f"{i}.jpg"} for i in range(pictures)],
        "image_id": [str(i) for i in range(pictures)],
        "region_id": ["0"] * pictures,
        "rle_counts": ["0" * 100] * pictures,
        "rle_size": [[100, 100]] * pictures,
    }
    pq.write_table(pa.table(columns, schema=schema), path, row_group_size=pictures, write_batch_size=1)


def manifest_of_regions(path: Path, regions: int) -> None:
    """Ten regions an image."""
    schema = pa.schema([("image_path", pa.string()), *IDS, *RLE_COLUMNS])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, regions, 100_000):
            numbers = range(start, min(start + 100_000, regions))
            columns = {
                "image_path": [f"{n // 10}.jpg" for n in numbers],
                "image_id": [str(n // 10) for n in numbers],
                "region_id": [str(n) for n in numbers],
                "rle_counts": [f"{n:0100d}" for n in numbers],
                "rle_size": [[100, 100]] * len(numbers),
            }
            writer.write_table(pa.table(columns, schema=schema))


def test_pictures_in_parquet_are_never_held_together(tmp_path: Path) -> None:
    """A hundred and fifty pictures of a MiB in one row group."""
    manifest_of_pictures(tmp_path / "a.parquet", 150)
    added, images, _, held = measured(tmp_path / "a.parquet")
    assert (images, held) == (150, 150 << 20)
    assert added < 130


@pytest.mark.soak
def test_a_large_coco_file_is_never_held_whole(tmp_path: Path) -> None:
    images, regions = large_coco(tmp_path / "masks.json", 150)
    added, *found = measured(tmp_path / "masks.json")
    assert found == [images, regions, 0]
    assert added < 200


@pytest.mark.soak
def test_a_million_rows_of_a_manifest_are_never_held_together(tmp_path: Path) -> None:
    manifest_of_regions(tmp_path / "a.parquet", 1_000_000)
    added, *found = measured(tmp_path / "a.parquet")
    assert found == [100_000, 1_000_000, 0]
    assert added < 250


@pytest.mark.soak
@pytest.mark.parametrize("to", ["training", "panoptic", "sa1b"])
def test_conversions_hold_an_image_at_a_time(to: str, tmp_path: Path) -> None:
    """Beyond what reading took: masks of an eighth of a gibibyte, pixel by pixel a gibibyte."""
    images, regions = large_coco(tmp_path / "masks.json", 5)
    before, after, *found, errors = printed(CONVERT, tmp_path / "masks.json", to, tmp_path / "out.json")
    assert found == [images, regions]
    assert bool(errors) == (to == "panoptic")  # most overlap
    print(f"to {to}: {after - before} MiB")
    assert after - before < 40
