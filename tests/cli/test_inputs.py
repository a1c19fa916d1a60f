"""Every input format reads as the same regions: stored samples, and data sets drawn at random."""

import hashlib
import json
import zipfile
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdlm_cli import inputs, manifest
from pdlm_cli.errors import InputError, OutputError
from pdlm_cli.input_conversion import convert
from pdlm_cli.manifest import Manifest, open_manifest
from pdlm_cli.readers import folder, parquet
from pdlm_cli.readers.records import ImageRecord
from pdlm_cli.region_index import RegionIndex, image_hash
from pdlm_cli.sources import MaskReader, Sources, open_with_sources
from tests.cli.sample_pictures import FOLDER, SAMPLE, Picture
from tests.cli.written_inputs import WRITERS

FILES = {
    "coco": "masks.json",
    "coco_annotations_first": "masks.json",
    "lvis": "lvis.json",
    "panoptic": "panoptic.json",
    "paradlc": "annotations.json",
    "training_rles": "training.json",
    "training_embedded": "training.json",
    "plain": "list.json",
    "parquet_regions": "manifest.parquet",
    "parquet_images": "manifest.parquet",
}
NUMBERED = [("a.png", ["0", "1", "2"]), ("b.png", ["0", "1"])]
COCO_IDS = [("0", ["0", "1", "2"]), ("1", ["3", "4"])]
IDS = dict.fromkeys(WRITERS, NUMBERED) | {
    "coco": COCO_IDS,
    "coco_annotations_first": COCO_IDS,
    "lvis": COCO_IDS,
    "panoptic": [("0", ["70001", "140002", "210003"]), ("1", ["70301", "140302"])],
    "sa1b": [("0", ["0", "1", "2"]), ("1", ["1000", "1001"])],
    "paradlc": [("0", ["0_0", "0_3", "0_6"]), ("1", ["1_0", "1_3"])],
    "training_embedded": [("a", ["0", "1", "2"]), ("b", ["0", "1"])],
    "folder_instances": [("a.png", ["300", "600", "900"]), ("b.png", ["300", "600"])],
    "parquet_regions": [("a", ["r0", "r1", "r2"]), ("b", ["r0", "r1"])],
    "parquet_images": [("a", ["r0", "r1", "r2"]), ("b", ["r0", "r1"])],
}


def opened(path: Path, **options: Any) -> tuple[Manifest, Sources]:
    return open_with_sources(str(path), **options)


def read(found: Manifest, sources: Sources) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Pixels of each picture and its masks."""
    result = []
    for entry in found:
        picture = sources.picture(entry)
        masks = MaskReader(sources, entry)
        result.append((np.asarray(picture), [masks.pixels(region, picture.size) for region in entry.regions]))
    return result


def same(found: list[tuple[np.ndarray, list[np.ndarray]]], pictures: tuple[Picture, ...]) -> None:
    assert len(found) == len(pictures)
    for (pixels, masks), picture in zip(found, pictures, strict=True):
        assert np.array_equal(pixels, np.asarray(picture.image()))
        assert len(masks) == len(picture.masks)
        for mask, expected in zip(masks, picture.masks, strict=True):
            assert np.array_equal(mask, expected)


@pytest.mark.parametrize("name", WRITERS)
def test_samples_read_as_they_were_meant(name: str) -> None:
    found, sources = opened(FOLDER / name / FILES.get(name, ""))
    _, format, categories = WRITERS[name]
    assert found.format == format
    assert (found.images, found.regions) == (2, 5)
    entries = list(found)
    assert [(entry.image_id, [region.region_id for region in entry.regions]) for entry in entries] == IDS[name]
    assert [region.source_index for entry in entries for region in entry.regions] == list(range(5))
    expected = [list(picture.categories) if categories else [None] * len(picture.masks) for picture in SAMPLE]
    assert [[region.category for region in entry.regions] for entry in entries] == expected
    same(read(found, sources), SAMPLE)
    assert open_manifest(found.path, format=format).sha256 == found.sha256


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Picture, ...]:
    """Regions are never empty and never overlap: not every format could say so."""
    drawn = []
    for i in range(draw(st.integers(1, 3))):
        height, width = draw(st.integers(2, 9)), draw(st.integers(2, 9))
        count = draw(st.integers(1, 4))
        cells = st.lists(st.integers(0, count), min_size=height * width, max_size=height * width)
        labels = np.array(draw(cells), np.uint8).reshape(height, width)
        labels.flat[:count] = range(1, count + 1)
        names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=count, max_size=count))
        drawn.append(Picture(f"picture{i}", labels, tuple(name.encode(errors="replace").decode() for name in names)))
    return tuple(drawn)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=8, derandomize=True, deadline=None)
@given(data=pictures())
def test_any_data_set_reads_the_same_in_every_format(
    name: str, data: tuple[Picture, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    write, format, categories = WRITERS[name]
    found, sources = opened(write(data, tmp_path_factory.mktemp("input")))
    assert found.format == format
    same(read(found, sources), data)
    if categories:
        assert [[region.category for region in entry.regions] for entry in found] == [
            list(picture.categories) for picture in data
        ]


def test_manifests_have_the_documented_columns(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    found, sources = opened(FOLDER / "coco/masks.json")
    convert("manifest", found, sources, tmp_path / "a.parquet", embed=False)
    convert("manifest", found, sources, tmp_path / "b.parquet", embed=True)
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert {field.name: str(field.type) for field in schema} == {
        "image_path": "string",
        "image_id": "string",
        "region_id": "string",
        "rle_counts": "string",
        "rle_size": "fixed_size_list<element: int32>[2]",
        "bbox_xywh": "fixed_size_list<element: float>[4]",
        "category": "string",
        "prompt": "string",
    }
    assert pq.read_table(tmp_path / "a.parquet")["rle_size"].to_pylist()[0] == [5, 8]
    assert pq.read_table(tmp_path / "a.parquet")["bbox_xywh"].to_pylist()[0] == [0, 0, 2, 2]
    whole = pq.read_schema(tmp_path / "b.parquet")
    assert whole.names == ["image", "image_id", "regions"]
    assert str(whole.field("image").type) == "struct<bytes: binary, path: string>"


@pytest.mark.parametrize("digits", ["9" * 5000, "\N{ARABIC-INDIC DIGIT THREE}"])
def test_a_number_without_end_is_no_number(tmp_path: Path, digits: str) -> None:
    with zipfile.ZipFile(tmp_path / "folder.zip", "w") as archive:
        for name in ("a.png", "a_0.png", f"a_{digits}.png", "masks/b/7.png", f"masks/b/{digits}.png", "b.png"):
            archive.writestr(name, b"")
    found = {
        entry.image_id: [region.region_id for region in entry.regions] for entry in opened(tmp_path / "folder.zip")[0]
    }
    assert found == {"a.png": ["0"], "b.png": [digits, "7"]}


def test_formats_are_those_of_the_readers() -> None:
    assert ("auto", *(reader.NAME for reader in (*manifest.JSON_READERS, folder, parquet))) == inputs.FORMATS


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("coco", "sa-1b", "there is no 'image'; expected SA-1B"),
        ("coco", "paradlc-bench", "the file is no list"),
        ("plain", "training", "'mask_rles' or 'annotations' must be a list, found nothing"),
        ("coco", "image-folder", "a single file cannot be image-folder"),
        ("folder_json", "lvis", "a folder or an archive cannot be lvis"),
        ("coco", "parquet-manifest", "Parquet"),
        ("parquet_regions", "coco-instances", "not valid JSON"),
    ],
)
def test_what_is_not_the_format_that_was_named_is_refused(name: str, format: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_manifest(FOLDER / name / FILES.get(name, ""), format=format)


def test_selections_of_images_combine(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(40)]
    annotations = [{"id": i, "image_id": i % 37, "segmentation": None} for i in range(80)]
    (tmp_path / "masks.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    found = open_manifest(tmp_path / "masks.json")

    def ids(selected: Manifest) -> list[int]:
        listed = [int(entry.image_id) for entry in selected]
        assert (selected.images, selected.regions) == (len(listed), sum(len(entry.regions) for entry in selected))
        return listed

    assert ids(found) == list(range(37))  # those without regions are left out
    assert ids(found.limited(5)) == list(range(5))
    assert ids(found.limited(99)) == list(range(37))
    shards = [ids(found.sharded(i, 3)) for i in range(3)]
    assert sorted(chain(*shards)) == list(range(37))
    assert all(shards)
    assert ids(found.sharded(1, 3).limited(4)) == shards[1][:4]
    assert ids(found.limited(9).sharded(1, 3)) == [i for i in shards[1] if i < 9]
    done = [place for place, entry in found.entries_with_places() if entry.image_id in ("3", "5")]
    before = found.left_out
    assert ids(found.without(done).limited(5)) == [0, 1, 2, 4, 6]
    assert found.left_out != before


def test_shards_are_the_same_for_ever() -> None:
    """On every machine and in every version: otherwise machines of one run would leave images out."""
    for name in ("a.png", "7", "b\u00fcro/1", ""):
        assert image_hash(name) == int(hashlib.sha256(name.encode()).hexdigest()[:15], 16)


def test_an_index_without_room_says_which_variable_names_its_folder() -> None:
    index = RegionIndex()
    index._database.execute("PRAGMA max_page_count = 20")
    with pytest.raises(OutputError, match="database or disk is full; SQLITE_TMPDIR names another"):
        index.fill((ImageRecord(str(i), f"{i}.png") for i in range(10_000)), "file", images_repeat=False)
