"""Pictures from folders and from the input itself; masks from what the input says and from mask pictures."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pdlm_cli.errors import RegionError
from pdlm_cli.sources import MaskReader, open_with_sources
from tests.cli.sample_pictures import FOLDER
from tests.cli.support import Dataset, box_mask, rle


def written(folder: Path, value: Any) -> str:
    (folder / "list.json").write_text(json.dumps(value))
    return str(folder / "list.json")


def masks_of(location: str, **options: Any) -> list[np.ndarray | str]:
    """Pixels of every mask, or the code of its error."""
    found, sources = open_with_sources(location, **options)
    result: list[np.ndarray | str] = []
    for entry in found:
        size = sources.picture(entry).size
        masks = MaskReader(sources, entry)
        for region in entry.regions:
            try:
                result.append(masks.pixels(region, size))
            except RegionError as error:
                result.append(error.code)
    return result


def test_every_form_of_a_plain_list(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    box = box_mask(8, 6, 2, 1, 3, 2)
    Image.fromarray(box).save(tmp_path / "m.png")
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (9, 9), 1).save(tmp_path / "large.png")
    corners = [2, 1, 5, 1, 5, 3, 2, 3]
    good = [rle(box), corners, [corners], "m.png", [2, 1, 3, 2], {"file": "m.png", "id": 1}]
    bad = {"none.png": "bad_mask", "text.png": "bad_mask", "../m.png": "outside_root", "large.png": "size_mismatch"}
    location = written(tmp_path, [{"image": "a.png", "masks": [*good, *bad, 7, {"file": "m.png", "id": "x"}]}])
    found = masks_of(location)
    assert all(np.array_equal(mask, box) for mask in found[: len(good)])
    assert found[len(good) :] == [*bad.values(), "bad_mask", "bad_mask"]


def test_null_in_the_training_json_is_the_whole_picture(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    regions = [{"caption": "x", "segmentation": None}, {"caption": "y", "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}]
    whole, corner = masks_of(written(tmp_path, [{"image_file": "a.png", "annotations": regions}]))
    assert np.array_equal(whole, np.ones((6, 8), bool))
    assert np.array_equal(corner, box_mask(8, 6, 0, 0, 2, 2))


@pytest.mark.parametrize(
    "address",
    [
        "data:image/png,xyz",
        *(f"data:image/png;base64,{text}" for text in ("!!", "AAAA", "\u00e9")),
    ],  # the last by fuzzing
)
def test_broken_pictures_in_the_file_are_bad(tmp_path: Path, address: str) -> None:
    found, sources = open_with_sources(written(tmp_path, [{"image": address, "masks": [[0, 0, 1, 1]]}]))
    (entry,) = found
    assert entry.file_name.startswith("data:")
    assert len(entry.file_name) < 30
    with pytest.raises(RegionError) as caught:
        sources.picture(entry)
    assert caught.value.code == "bad_image"


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB", "RGBA", "LA"])
def test_masks_in_every_kind_of_picture(tmp_path: Path, mode: str) -> None:
    """A region is what is not zero: of gray, of the palette's index, of the color."""
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    box = box_mask(6, 4, 1, 1, 3, 2)
    if mode == "P":
        picture = Image.fromarray(box.astype(np.uint8), "L")
        picture.putpalette([255, 255, 255, 0, 0, 0])
    elif mode == "I;16":
        picture = Image.fromarray(box.astype(np.uint16) * 256)
    else:
        picture = Image.fromarray(box.astype(np.uint8) * 255).convert(mode)
    picture.save(tmp_path / "m.png")
    (mask,) = masks_of(written(tmp_path, [{"image": "a.png", "masks": ["m.png"]}]))
    assert np.array_equal(mask, box)


def test_jpeg_masks_are_what_is_bright(tmp_path: Path) -> None:
    values = np.zeros((16, 16), np.uint8)
    values[:, 8:] = 128
    values[:, :8] = 120
    Image.fromarray(values).save(tmp_path / "photo_mask_3.jpg", quality=100)
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.jpg")
    (mask,) = masks_of(str(tmp_path))
    assert np.array_equal(mask, values == 128)


def test_subfolders_find_their_masks_and_lone_pictures_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a/x.jpg", "b/x.jpg", "c/lonely.jpg", "c/lonely_1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    for name in ("a/masks/x/10.png", "a/masks/x/9.png", "masks/b/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 5).save(tmp_path / name)
    found, _ = open_with_sources(str(tmp_path))
    assert [(entry.image_id, [region.region_id for region in entry.regions]) for entry in found] == [
        ("a/x.jpg", ["9", "10"]),
        ("b/x.jpg", ["5"]),
    ]
    assert "2 pictures" in caplog.text


def test_files_of_a_folder_that_cannot_be_read_are_regions_that_cannot(tmp_path: Path) -> None:
    for stem in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{stem}.jpg")
    (tmp_path / "a.json").write_text('{"masks": [[0, 0, 2, 2]]}')
    (tmp_path / "b.json").write_text('{"masks": [')
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/c.png").write_text("no picture")
    good, *bad = masks_of(str(tmp_path), format="image-folder")
    assert np.array_equal(good, box_mask(4, 4, 0, 0, 2, 2))
    assert bad == ["bad_mask", "bad_mask"]
    (tmp_path / "sa").mkdir()
    (tmp_path / "sa/good.json").write_text((FOLDER / "sa1b/a.json").read_text())
    (tmp_path / "sa/torn.json").write_text((FOLDER / "sa1b/b.json").read_text()[:-50])
    found, _ = open_with_sources(str(tmp_path / "sa"), format="sa-1b")
    assert [(entry.file_name, len(entry.regions)) for entry in found] == [("a.png", 3), ("torn.jpg", 1)]


def test_a_folder_is_another_input_when_a_mask_in_it_changes(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    hashes, masks = set(), set()
    for value in (1, 2):
        Image.new("L", (4, 4), value).save(tmp_path / "a_0.png")
        found, _ = open_with_sources(str(tmp_path))
        hashes.add(found.sha256)
        masks.add(json.dumps([region.segmentation for entry in found for region in entry.regions]))
    assert len(hashes) == len(masks) == 2


@pytest.mark.fault("EXIF rotation")
def test_exif_follows_the_size_the_masks_belong_to(dataset: Dataset) -> None:
    """One photo, of which one tool saw 6 x 4 pixels and another, which turned it, 4 x 6."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(dataset.folder / "1.png", exif=exif)
    for size in ((6, 4), (4, 6)):
        dataset.coco["images"].append({"id": len(dataset.coco["images"]) + 1, "file_name": "1.png"})
        dataset.region(len(dataset.coco["images"]), rle(box_mask(*size, 0, 0, 1, 1)))
    location = str(dataset.write())

    def sizes(**options: Any) -> list[tuple[int, int]]:
        found, sources = open_with_sources(location, **options)
        assert [sources.picture_size(entry) for entry in found] == [sources.picture(entry).size for entry in found]
        return [sources.picture(entry).size for entry in found]

    assert sizes() == [(6, 4), (4, 6)]
    assert sizes(exif="apply") == [(4, 6), (4, 6)]
    assert sizes(exif="ignore") == [(6, 4), (6, 4)]


def test_images_of_too_many_regions_come_refused_and_in_pieces(dataset: Dataset) -> None:
    for _ in range(2):
        dataset.image()
    for n in range(9):
        dataset.region(1 if n < 7 else 2)
    found, _ = open_with_sources(str(dataset.write()), max_regions=3)
    entries = list(found)
    assert [(entry.image_id, len(entry.regions)) for entry in entries] == [("1", 3), ("1", 3), ("1", 1), ("2", 2)]
    assert [entry.refused is None for entry in entries] == [False, False, False, True]
    assert entries[0].refused == ("too_many_regions", "the image has 7 regions, more than --max-regions 3")


def test_base64_pictures_and_embedded_bytes_are_told_by_the_manifest() -> None:
    assert open_with_sources(str(FOLDER / "training_embedded/training.json"))[0].holds_pictures
    assert open_with_sources(str(FOLDER / "parquet_images/manifest.parquet"))[0].holds_pictures
    assert not open_with_sources(str(FOLDER / "coco/masks.json"))[0].holds_pictures


@pytest.mark.parametrize("archived", [False, True], ids=["folder", "zip"])
def test_pictures_of_lvis_lie_in_the_folders_of_coco_or_in_one_of_them(tmp_path: Path, archived: bool) -> None:
    images = [{"id": i, "coco_url": f"http://x/{part}2017/{i}.png"} for i, part in enumerate(("train", "val", "val"))]
    region = {"segmentation": [[1, 1, 4, 1, 4, 4]]}
    annotations = [{"id": i, "image_id": i, **region} for i in range(3)]
    (tmp_path / "lvis.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    for name in ("both/train2017/0.png", "both/val2017/1.png", "one/0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(tmp_path / name)

    def read(where: str) -> list[str]:
        place = shutil.make_archive(str(tmp_path / where), "zip", tmp_path / where) if archived else tmp_path / where
        found, sources = open_with_sources(str(tmp_path / "lvis.json"), images=str(place))
        said = []
        for entry in found:
            try:
                said.append(str(sources.picture(entry).size))
            except RegionError as error:
                said.append(str(error))
        return said

    assert read("both")[:2] == ["(8, 6)", "(8, 6)"]
    assert read("one")[0] == "(8, 6)"
    for found in (read("both")[2], read("one")[2]):
        assert found.startswith("no file 'val2017/2.png' in ") and "--images names" in found
