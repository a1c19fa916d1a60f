"""Every input format as every other: stored samples, and regions drawn at random."""

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pdlm_cli.conversions import TARGETS
from pdlm_cli.conversions.folders import SIGN
from pdlm_cli.input_conversion import WRITERS, convert
from pdlm_cli.main import main
from pdlm_cli.manifest import Manifest
from pdlm_cli.masks import pack
from pdlm_cli.regions import ImageEntry, Region
from pdlm_cli.sources import MaskReader, Sources, open_with_sources
from pdlm_cli.training.pictures import record_regions
from tests.cli.runs import run
from tests.cli.sample_pictures import FOLDER, SAMPLE
from tests.cli.support import Dataset, StubEngine, box_mask, rle
from tests.cli.test_inputs import FILES, same
from tests.cli.test_inputs import WRITERS as SAMPLES

# Formats that hold any region id, where they are unique in the file; and those that have a place for pictures.
HOLDS_IDS = ("manifest", "coco", "lvis", "sa1b")
HOLDS_PICTURES = [to for to, writer in WRITERS.items() if "picture" in writer.HOLDS]


def pdlm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def opened(path: Path, **options: Any) -> tuple[Manifest, Sources]:
    return open_with_sources(str(path), **options)


def masks(entry: ImageEntry, sources: Sources, size: tuple[int, int] | None = None) -> list[np.ndarray]:
    """Masks of an image on a picture of `size`, its own if None."""
    reader = MaskReader(sources, entry)
    return [reader.pixels(region, size or sources.picture(entry).size) for region in entry.regions]


def digests(entry: ImageEntry, sources: Sources) -> Counter[str]:
    return Counter(pack(mask).digest for mask in masks(entry, sources))


def output(folder: Path, to: str) -> Path:
    return folder / ("out" if TARGETS[to].is_folder else TARGETS[to].out.lower())


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_converts_to_every_other(name: str, to: str, tmp_path: Path) -> None:
    found, sources = opened(FOLDER / name / FILES.get(name, ""))
    out = output(tmp_path, to)
    converted = convert(to, found, sources, out)
    assert (converted.images, converted.regions, converted.exit_code) == (2, 5, 0)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    images = FOLDER / ("lvis" if name == "lvis" else "coco")  # whose pictures lie in folders, or do not
    back, back_sources = opened(out) if to == "folder" else opened(out, images=str(images))
    assert back.format == TARGETS[to].format
    if name == "training_embedded" and to not in HOLDS_PICTURES:  # nothing to name the pictures by
        found_masks = [
            masks(entry, back_sources, tuple(picture.size.values()))  # type: ignore[arg-type]
            for entry, picture in zip(back, SAMPLE, strict=True)
        ]
        assert converted.not_held["pictures in the input itself"] == 2
    else:
        pictures = [np.asarray(back_sources.picture(entry)) for entry in back]
        found_masks = [masks(entry, back_sources) for entry in back]
        same(list(zip(pictures, found_masks, strict=True)), SAMPLE)
    for listed, picture in zip(found_masks, SAMPLE, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(listed, picture.masks, strict=True))

    before, after = list(found), list(back)
    holds = WRITERS[to].HOLDS
    for field in ("category", "crowd", "prompt", "caption"):
        said = [[getattr(region, field) for region in entry.regions] for entry in before]
        kept = [[getattr(region, field) for region in entry.regions] for entry in after]
        empty = [[type(value)() if value is False else None for value in listed] for listed in said]
        assert kept == (said if field in holds else empty)
    if to in HOLDS_IDS and (found.region_ids_are_unique or to not in ("coco", "lvis")):
        assert ids(after) == ids(before)
    if to != "folder":
        assert [entry.image_id for entry in after] == [entry.image_id for entry in before]


def ids(entries: list[ImageEntry]) -> list[list[str]]:
    return [[region.region_id for region in entry.regions] for entry in entries]


SEGMENTS = st.text("a1_%é ~#?", min_size=1, max_size=4).filter(lambda text: text.strip())
FOLDERS, ENDINGS = st.sampled_from(["", "d/", "masks/", "a.png/"]), st.sampled_from([".png", ".jpg"])
NAMES = st.builds("{}{}{}".format, FOLDERS, SEGMENTS, ENDINGS)
IDS = st.integers(0, 1 << 26) | st.text(min_size=1, max_size=4) | st.integers(0, 3).map("{}_1".format)


@st.composite
def data_sets(draw: st.DrawFn) -> list[tuple[str, tuple[int, int], list[dict[str, Any]]]]:
    """Names of pictures, their sizes, and annotations with masks (height, width) that may overlap and repeat."""
    region_ids = iter(draw(st.lists(IDS, min_size=9, max_size=9, unique_by=str)))
    drawn = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        height, width = draw(st.integers(2, 6)), draw(st.integers(2, 6))
        annotations = []
        for _ in range(draw(st.integers(1, 3))):
            bits = st.lists(st.booleans(), min_size=height * width, max_size=height * width).filter(any)
            annotations.append(
                {
                    "id": next(region_ids),
                    "mask": np.array(draw(bits)).reshape(height, width),
                    "category_id": draw(st.sampled_from([1, 2, None])),
                    "iscrowd": draw(st.integers(0, 1)),
                    "caption": draw(st.none() | st.text(max_size=5)),
                }
            )
        drawn.append((name, (width, height), annotations))
    return drawn


def written(data: list[tuple[str, tuple[int, int], list[dict[str, Any]]]], folder: Path) -> Path:
    """As COCO, and the pictures, no two of which are the same, in a zip, which can hold any names."""
    coco: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "thing"}, {"id": 2, "name": "other"}],
    }
    for number, (name, (width, height), annotations) in enumerate(data):
        with zipfile.ZipFile(folder / "pictures.zip", "a") as pictures, pictures.open(name, "w") as file:
            Image.new("RGB", (width, height), (number, 0, 0)).save(file, "PNG")
        coco["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        for annotation in annotations:
            said = {key: value for key, value in annotation.items() if key != "mask" and value is not None}
            coco["annotations"].append(said | {"image_id": number, "segmentation": rle(annotation["mask"])})
    (folder / "masks.json").write_text(json.dumps(coco))
    return folder / "masks.json"


def without_overlaps(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """First come, first served."""
    kept: list[dict[str, Any]] = []
    for annotation in annotations:
        if not any((annotation["mask"] & other["mask"]).any() for other in kept):
            kept.append(annotation)
    return kept


@pytest.mark.parametrize("to", TARGETS)
@settings(max_examples=8, deadline=None)
@given(data=data_sets())
def test_any_regions_come_back(
    to: str, data: list[tuple[str, tuple[int, int], list[dict[str, Any]]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("conversion")
    found, sources = opened(written(data, folder), images=str(folder / "pictures.zip"))
    out = output(folder / "new", to)
    out.parent.mkdir()
    converted = convert(to, found, sources, out)
    back, back_sources = opened(out) if to == "folder" else opened(out, images=str(folder / "pictures.zip"))
    assert back.format == TARGETS[to].format

    expected = [without_overlaps(listed) if to == "panoptic" else listed for _, _, listed in data]
    left_out = sum(len(listed) for _, _, listed in data) - sum(map(len, expected))
    assert converted.errors == ({"overlap": left_out} if left_out else {})
    by_picture = {back_sources.picture(entry).getpixel((0, 0)): entry for entry in back}
    assert [*sorted(by_picture)] == [(number, 0, 0) for number in range(len(data))]
    holds, renamed = WRITERS[to].HOLDS, 0
    names = {1: "thing", 2: "other", None: None}
    for number, listed in enumerate(expected):
        entry = by_picture[number, 0, 0]
        assert digests(entry, back_sources) == Counter(pack(annotation["mask"]).digest for annotation in listed)
        if to == "folder":  # its regions are in the order of their names
            continue
        said = [(str(a["id"]), names[a["category_id"]], bool(a["iscrowd"]), a["caption"]) for a in listed]
        for region, (region_id, category, crowd, caption) in zip(entry.regions, said, strict=True):
            assert region.category == (category if "category" in holds else None)
            assert region.crowd == (crowd if "crowd" in holds else False)
            assert region.caption == (caption if "caption" in holds else None)
            if to == "paradlc":
                region_id = f"{number}_" + region_id.removeprefix(f"{number}_")
            renamed += region.region_id != region_id
    if to != "folder":
        assert converted.not_held["region ids"] == renamed
        assert to not in HOLDS_IDS or not renamed
        file_names = [[entry.file_name for entry in read] for read in (found, back)]
        assert len({tuple(sorted(names) if to == "sa1b" else names) for names in file_names}) == 1  # files by name


def regions_of(path: Path, **options: Any) -> dict[str, list[Region]]:
    return {entry.image_id: list(entry.regions) for entry in opened(path, **options)[0]}


def test_a_region_over_another_is_left_out_of_panoptic_and_told_of(dataset: Dataset, tmp_path: Path) -> None:
    image = dataset.image()
    for left in (1, 3, 6):  # the second touches both others, the third only the second
        dataset.region(image, rle(box_mask(40, 30, left, 1, 4, 4)))
    result = pdlm("convert", "panoptic", dataset.write(), tmp_path / "a.json", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["errors"] == {"overlap": 1}
    assert "region 2 of image 1: overlap" in result.stderr
    found, sources = opened(tmp_path / "a.json", images=str(dataset.folder))
    (entry,) = found
    assert [region.region_id for region in entry.regions] == ["1", "3"]
    for mask, left in zip(masks(entry, sources), (1, 6), strict=True):
        assert np.array_equal(mask, box_mask(40, 30, left, 1, 4, 4))
    (annotation,) = json.loads((tmp_path / "a.json").read_text())["annotations"]
    first = {"id": 1, "category_id": 1, "iscrowd": 0, "area": 16, "bbox": [1, 1, 4, 4]}
    assert annotation["file_name"] == "1.png" and annotation["segments_info"][0] == first
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [SIGN, "1.png"]


@pytest.mark.parametrize("to", TARGETS)
def test_what_a_format_cannot_hold_is_said_once(to: str, dataset: Dataset, tmp_path: Path) -> None:
    dataset.image(name="empty.png")
    for _ in range(2):
        dataset.region(dataset.image(), iscrowd=1, caption="a thing")
    result = pdlm("convert", to, dataset.write(), output(tmp_path, to), "--json", "--images", dataset.folder)
    assert result.exit_code == 0, result.stderr
    lost = {"category": ("categories", 2), "crowd": ("crowd marks", 2), "caption": ("captions", 2)}
    expected = dict(called for field, called in lost.items() if field not in WRITERS[to].HOLDS)
    if to in ("plain", "training"):
        expected |= {"region ids": 2}
    if to == "folder":
        expected |= {"image ids": 2}
    expected |= {"images without regions": 1}
    assert json.loads(result.stdout)["not_held"] == expected
    assert result.stderr.count("left behind") == 1
    assert all(f"{count} {what}" in result.stderr for what, count in expected.items())


@pytest.mark.parametrize("to", TARGETS)
def test_prompts_stay_where_there_is_a_place_for_them(to: str, tmp_path: Path) -> None:
    mask = rle(SAMPLE[0].masks[0])
    row = {"image_path": "a.png", "image_id": "a", "region_id": "0", "prompt": "Which color?"}
    row |= {"rle_size": mask["size"], "rle_counts": mask["counts"]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "prompts.parquet")
    found, sources = opened(tmp_path / "prompts.parquet", images=str(FOLDER / "coco"))
    converted = convert(to, found, sources, output(tmp_path, to))
    (region,) = next(iter(opened(output(tmp_path, to))[0])).regions
    assert (region.prompt, converted.not_held["prompts"]) == (("Which color?", 0) if to == "manifest" else (None, 1))


@pytest.mark.parametrize("to", TARGETS)
def test_images_of_too_many_regions_are_refused(to: str, dataset: Dataset, tmp_path: Path) -> None:
    first, second = dataset.image(), dataset.image()
    for left in range(0, 25, 5):
        dataset.region(first, rle(box_mask(40, 30, left, 1, 3, 3)))
    dataset.region(second)
    options = ["--max-regions", 2, "--images", dataset.folder]
    result = pdlm("convert", to, dataset.write(), output(tmp_path, to), "--json", *options)
    assert result.exit_code == 3
    converted = json.loads(result.stdout)
    assert converted["errors"] == {"too_many_regions": 5}
    assert (converted["images"], converted["regions"]) == (2, 6)
    back, _ = opened(output(tmp_path, to), images=None if to == "folder" else str(dataset.folder))
    assert (back.images, back.regions) == (1, 1)


def test_captions_of_a_finished_run_are_trained_on(dataset: Dataset, tmp_path: Path) -> None:
    image = dataset.image()
    dataset.region(image)
    dataset.region(image)
    run(dataset, tmp_path / "out", StubEngine())
    assert pdlm("export", tmp_path / "out", "--to", "coco", tmp_path / "captions.json").exit_code == 0
    result = pdlm("convert", "training", tmp_path / "captions.json", tmp_path / "training.json")
    assert result.exit_code == 0
    assert "no caption" not in result.stderr
    exported = json.loads((tmp_path / "captions.json").read_text())["annotations"]
    (record,) = json.loads((tmp_path / "training.json").read_text())
    assert record_regions(record) == [(found["segmentation"], found["caption"]) for found in exported]


def test_regions_without_a_caption_are_told_of(tmp_path: Path) -> None:
    result = pdlm("convert", "training", FOLDER / "coco/masks.json", tmp_path / "training.json")
    assert result.exit_code == 0
    assert "5 regions have no caption" in result.stderr
    assert not any("captions" in record for record in json.loads((tmp_path / "training.json").read_text()))


def test_captions_of_drawn_scenes_come_along_from_parquet(tmp_path: Path) -> None:
    formats = ["--format", "json", "--format", "parquet"]
    assert pdlm("data", "scenes", tmp_path / "scenes", "--count", 2, "--size", 64, *formats).exit_code == 0
    assert pdlm("convert", "training", tmp_path / "scenes", tmp_path / "a.json").exit_code == 0
    found = json.loads((tmp_path / "a.json").read_text())
    drawn = json.loads((tmp_path / "scenes/scenes.json").read_text())
    for field in ("captions", "mask_rles"):
        assert [record[field] for record in found] == [record[field] for record in drawn]
    assert all(record["image"].startswith("data:image/") for record in found)
