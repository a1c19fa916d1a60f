"""Files as labelling tools write them: boxes without masks, and other habits."""

import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.exporting import export
from pdlm_cli.input_conversion import convert
from pdlm_cli.manifest import open_manifest
from pdlm_cli.sources import MaskReader, open_with_sources
from pdlm_cli.stores import open_store
from tests.cli.runs import run
from tests.cli.support import REPOSITORY, Dataset, StubEngine, box_mask, rle

BOX = [3, 2, 10, 5]


def boxes(dataset: Dataset, **fields: Any) -> Path:
    """Three annotations of an image of 40 by 30 pixels; the first two are boxes alone, as their fields say."""
    image = dataset.image()
    dataset.region(image)
    dataset.region(image)
    dataset.region(image, bbox=[0, 0, 40, 30])
    for annotation in dataset.coco["annotations"][:2]:
        del annotation["segmentation"]
        annotation |= {"bbox": BOX, **fields}
    return dataset.write()


@pytest.mark.parametrize("fields", [{}, {"segmentation": []}, {"segmentation": None}], ids=str)
def test_boxes_are_masks_only_where_that_is_asked_for(
    dataset: Dataset, fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = boxes(dataset, **fields)
    with caplog.at_level(logging.WARNING, "pdlm"):
        (entry,) = open_manifest(path)
    assert "2 annotations have a box and no mask; --format coco-boxes takes the box for it" in caplog.text
    assert entry.regions[0].segmentation == fields.get("segmentation")

    found, sources = open_with_sources(str(path), format="coco-boxes")
    (entry,) = found
    masks = MaskReader(sources, entry)
    drawn = [masks.pixels(region, (40, 30)) for region in entry.regions]
    assert np.array_equal(drawn[0], box_mask(40, 30, *BOX))
    assert np.array_equal(rle(drawn[2])["counts"], dataset.coco["annotations"][2]["segmentation"]["counts"])


def test_a_file_of_boxes_alone_says_how_to_read_it(dataset: Dataset) -> None:
    path = boxes(dataset)
    del dataset.coco["annotations"][2]
    path.write_text(json.dumps(dataset.coco))
    with pytest.raises(InputError, match=r"no annotation has a 'segmentation'.*; --format coco-boxes takes boxes"):
        open_manifest(path)


def test_whole_numbers_may_be_written_with_a_point(dataset: Dataset) -> None:
    """JSON has one kind of number; tables with gaps write all of a column as 7.0."""
    dataset.region(dataset.image(40, 30))
    (expected,) = open_manifest(dataset.write())

    def with_points(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: with_points(item) if key != "segmentation" else item for key, item in value.items()}
        if isinstance(value, list):
            return [with_points(item) for item in value]
        return float(value) if isinstance(value, int) else value

    dataset.file.write_text(json.dumps(with_points(dataset.coco)))
    assert '"category_id": 1.0' in dataset.file.read_text()
    assert list(open_manifest(dataset.file)) == [expected]


@pytest.mark.parametrize("to", ["coco", "lvis", "panoptic", "export"])
def test_categories_keep_their_ids(to: str, dataset: Dataset, tmp_path: Path) -> None:
    """Whoever joins captions to annotations by category finds them."""
    image = dataset.image()
    dataset.coco["categories"] = [{"id": 18, "name": "dog"}, {"id": 1, "name": "unused"}, {"id": "x", "name": "odd"}]
    for category, left in ((18, 0), ("x", 10), (7, 20)):
        dataset.region(image, rle(box_mask(40, 30, left, 1, 4, 4)), category_id=category)
    out = tmp_path / "out.json"
    if to == "export":
        run(dataset, tmp_path / "run", StubEngine())
        export(tmp_path / "run", "coco", out)
    else:
        found, sources = open_with_sources(str(dataset.write()))
        convert(to, found, sources, out)
    made = json.loads(out.read_text())
    names = {category["name"]: category["id"] for category in made["categories"]}
    assert names == {"dog": 18, "unused": 1, "odd": 2} | ({"region": 3} if to == "export" else {})
    listed = made["annotations"][0]["segments_info"] if to == "panoptic" else made["annotations"]
    assert [annotation.get("category_id") for annotation in listed] == [18, 2, names.get("region")]


@pytest.mark.parametrize("archived", [False, True], ids=["folder", "zip"])
def test_file_names_of_windows_are_found(tmp_path: Path, archived: bool) -> None:
    place = tmp_path / ("photos.zip" if archived else "photos")
    if archived:
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("upload/1/b\u00fcro 1.jpg", b"found")
    else:
        (place / "upload/1").mkdir(parents=True)
        (place / "upload/1/b\u00fcro 1.jpg").write_bytes(b"found")
    store = open_store(str(place))
    with store.open("upload\\1\\b\u00fcro 1.jpg") as file:
        assert file.read() == b"found"
    for name, code in (("upload\\2.jpg", "missing_image"), ("..\\..\\secret.jpg", "outside_root")):
        with pytest.raises(RegionError) as caught:
            store.open(name)
        assert caught.value.code == code


def picture(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(folder / name)
    return folder / name


def test_the_list_of_sam_lies_beside_its_picture(tmp_path: Path) -> None:
    picture(tmp_path, "a.jpg")
    masks = [box_mask(40, 30, left, 2, 5, 6) for left in (3, 20)]
    found = [
        {"segmentation": rle(mask), "area": 30, "predicted_iou": 0.9, "crop_box": [0, 0, 40, 30]} for mask in masks
    ]
    (tmp_path / "a.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match="SAM's list of regions is read beside its picture, under the same name"):
        open_manifest(tmp_path / "a.json")
    manifest, sources = open_with_sources(str(tmp_path))
    (entry,) = manifest
    reader = MaskReader(sources, entry)
    assert [region.region_id for region in entry.regions] == ["0", "1"]
    for region, mask in zip(entry.regions, masks, strict=True):
        assert np.array_equal(reader.pixels(region, (40, 30)), mask)


@pytest.mark.parametrize(
    ("said", "format"), [({"segmentation": rle(box_mask(40, 30, *BOX))}, "auto"), ({"bbox": BOX}, "coco-boxes")]
)
def test_results_of_coco_are_joined_with_the_ground_truth(
    said: dict[str, Any], format: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.region(dataset.image())
    dataset.write().rename(dataset.folder / "instances_val2017.json")
    results = dataset.folder / "results.json"
    results.write_text(json.dumps([{"image_id": 1, "category_id": 1, **said, "score": 0.9}]))
    with pytest.raises(InputError, match=r"COCO results have no file names .* in place of the 'annotations'"):
        open_manifest(results)
    shown = (REPOSITORY / "docs/inputs.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(dataset.folder)
    exec(shown, {})
    found, sources = open_with_sources("found.json", format=format)
    (entry,) = found
    (region,) = entry.regions
    assert region.category == "thing"
    assert np.array_equal(MaskReader(sources, entry).pixels(region, (40, 30)), box_mask(40, 30, *BOX))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"shapes": []}, "a.json: 'masks' must be a list, found nothing"),
        ([7], r"a.json: \[0\] must be an object, found 7"),
        (7, "a.json: the file must be an object, found 7"),
    ],
)
def test_json_beside_a_picture_that_is_none_of_ours_is_named_once(tmp_path: Path, content: Any, message: str) -> None:
    picture(tmp_path, "a.jpg")
    (tmp_path / "a.json").write_text(json.dumps(content))
    manifest, sources = open_with_sources(str(tmp_path))
    (entry,) = manifest
    with pytest.raises(RegionError, match=f"^{message}$"):
        MaskReader(sources, entry).pixels(entry.regions[0], (40, 30))


def test_masks_of_no_picture_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of Open Images, say: masks/<picture>_<label>_<box>.png."""
    picture(tmp_path, "a.jpg")
    picture(tmp_path / "masks", "a_m01g317_4d.png")
    with pytest.raises(
        InputError, match=r"none of 1 pictures has masks \(masks/a_m01g317_4d.png is the mask of none\)"
    ):
        open_manifest(tmp_path)
    picture(tmp_path / "masks/a", "0.png")
    picture(tmp_path, "b.jpg")
    picture(tmp_path / "masks", "of b.png")
    (tmp_path / "b.json").write_text(json.dumps({"masks": ["masks/of b.png"]}))
    with caplog.at_level(logging.WARNING, "pdlm"):
        assert open_manifest(tmp_path).regions == 2
    assert (
        "1 pictures in masks/ are the masks of none and are left out, the first masks/a_m01g317_4d.png" in caplog.text
    )


def test_a_folder_with_an_annotation_file_says_to_name_that(dataset: Dataset) -> None:
    dataset.region(dataset.image(name="a.jpg"))
    dataset.write().rename(dataset.folder / "_annotations.coco.json")
    with pytest.raises(InputError, match=r"if _annotations.coco.json is an annotation file, name that; `pdlm caption"):
        open_manifest(dataset.folder)


@pytest.mark.parametrize("to", ["coco", "export"])
def test_coco_that_is_written_has_no_parts_that_enclose_nothing(to: str, dataset: Dataset, tmp_path: Path) -> None:
    square = [3, 2, 9, 2, 9, 8, 3, 8]
    dataset.region(dataset.image(), [[1, 1, 2, 2], square])
    if to == "export":
        run(dataset, tmp_path / "run", StubEngine())
        export(tmp_path / "run", "coco", tmp_path / "out.json")
    else:
        convert(to, *open_with_sources(str(dataset.write())), tmp_path / "out.json")
    (annotation,) = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert (annotation["segmentation"], annotation["bbox"]) == ([square], [3, 2, 6, 6])
