import bz2
import copy
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.manifest import open_manifest
from pdlm_cli.regions import region_key
from pdlm_cli.sources import open_with_sources
from tests.cli.support import Dataset

POLYGON = [[0, 0, 5, 0, 5, 5]]


def coco(images: int = 2, regions: int = 3) -> dict[str, Any]:
    """Regions go to the images in turn."""
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 20, "height": 10} for i in range(images)],
        "annotations": [
            {"id": 100 + i, "image_id": i % images, "category_id": 7, "segmentation": POLYGON} for i in range(regions)
        ],
        "categories": [{"id": 7, "name": "cat"}],
    }


def written(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "masks.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_images_and_regions_come_in_file_order(tmp_path: Path) -> None:
    manifest = open_manifest(written(tmp_path, coco()))
    assert manifest.format == "coco-instances"
    assert (manifest.images, manifest.regions) == (2, 3)
    first, second = manifest
    assert (first.image_id, first.file_name, first.width, first.height) == ("0", "0.jpg", 20, 10)
    assert [(r.region_id, r.source_index, r.category) for r in first.regions] == [("100", 0, "cat"), ("102", 2, "cat")]
    assert [r.region_id for r in second.regions] == ["101"]
    assert first.regions[0].segmentation == POLYGON


@pytest.mark.parametrize("first", ["paradlc-bench", "training"])
def test_a_format_shows_at_the_first_image_that_has_regions(tmp_path: Path, first: str) -> None:
    mask = {"size": [1, 1], "counts": [0, 1]}
    region = {"index": 0, "mask_rle": mask} if first == "paradlc-bench" else {"caption": "", "segmentation": mask}
    images = [
        {"image_id": i, "file_name": f"{i}.jpg", "image": f"{i}.jpg", "annotations": regions}
        for i, regions in enumerate([[], [], [region]])
    ]
    manifest = open_manifest(written(tmp_path, images))
    assert (manifest.format, [entry.image_id for entry in manifest]) == (first, ["2"])


def test_images_without_regions_are_left_out(tmp_path: Path) -> None:
    value = coco(images=2, regions=1)
    assert [entry.image_id for entry in open_manifest(written(tmp_path, value))] == ["0"]


def test_what_coco_leaves_open_may_be_missing(tmp_path: Path) -> None:
    value = coco(1, 2)
    del value["categories"], value["images"][0]["width"], value["images"][0]["height"]
    value["annotations"][0]["iscrowd"] = 1
    del value["annotations"][1]["segmentation"]
    (entry,) = open_manifest(written(tmp_path, value))
    assert (entry.width, entry.height) == (None, None)
    assert [region.crowd for region in entry.regions] == [True, False]
    assert [region.category for region in entry.regions] == [None, None]
    assert entry.regions[1].segmentation is None


def test_ids_may_be_text_and_files_may_hold_a_byte_order_mark(tmp_path: Path) -> None:
    value = coco(1, 1)
    value["images"][0]["id"] = value["annotations"][0]["image_id"] = "b\u00fcro/1"
    path = tmp_path / "masks.json"
    path.write_bytes(json.dumps(value).encode("utf-8-sig"))
    assert [entry.image_id for entry in open_manifest(path)] == ["b\u00fcro/1"]


def test_an_empty_list_of_annotations_is_an_input_without_regions(tmp_path: Path) -> None:
    assert open_manifest(written(tmp_path, coco(1, 0))).regions == 0


def test_limit_keeps_whole_images(tmp_path: Path) -> None:
    manifest = open_manifest(written(tmp_path, coco(3, 7)))
    limited = manifest.limited(2)
    assert list(limited) == list(manifest)[:2]
    assert limited.sha256 == manifest.sha256


def changed(path: str, new: Any) -> dict[str, Any]:
    """A good file with one value replaced; `path` is like images.0.id."""
    value = copy.deepcopy(coco())
    *parents, last = path.split(".")
    place: Any = value
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last if isinstance(place, dict) else int(last)] = new
    return value


HALF = "a\ud800.jpg"
REFUSED = {
    "empty file": ("", "the file is empty"),
    "not JSON": ("# masks", r"it begins with b'# masks'; expected an annotation file \(JSON or Parquet\), or a folder"),
    "cut off": ('{"images": [', "line 1, column 13"),
    "not a number": ('{"images": [], "annotations": NaN}', "NaN is not a JSON number"),
    "repeated key": ('{"images": [], "images": [], "annotations": []}', "'images'"),
    "deep nesting": ("[" * 5000 + "]" * 5000, "nested too deeply"),
    "a list": ([1, 2], "a list of items like 1, or that alone is no known annotation format; expected one of coco-"),
    "an empty list": ([], "an empty list is no known annotation format; .{,150}$"),
    "other keys": ({"pictures": []}, "'pictures'"),
    "a number": (7, "a list of items like 7, or that alone"),
    "images of text": (changed("images", "all"), "'images' must be a list, found 'all'"),
    "image of text": (changed("images.1", "all"), r"images\[1\] must be an object, found 'all'"),
    "captions only": (
        {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"id": 1, "image_id": 1, "caption": "x"}]},
        "no annotation has a 'segmentation'",
    ),
    "no file name": (changed("images.1.file_name", None), r"images\[1\] needs 'file_name'.*found nothing"),
    "half a character": (changed("images.1.file_name", HALF), "half a Unicode character"),
    "no image id": (changed("images.0.id", None), r"images\[0\] needs 'id'.*found nothing"),
    "fractional id": (changed("annotations.2.id", 1.5), r"annotations\[2\] needs 'id'.*found 1.5"),
    "true as an id": (changed("images.0.id", True), "found True"),
    "width of zero": (changed("images.0.width", 0), r"images\[0\] 'width'.*found 0"),
    "height of text": (changed("images.0.height", "10"), r"images\[0\] 'height'.*found '10'"),
    "annotation of no image": (changed("annotations.1.image_id", 99), "not in 'images': 99"),
    "image id twice": (changed("images.1.id", 0), "image ids used more than once: 0; ids must be unique"),
    "same id as text": (changed("images.1.id", "0"), "image ids used more than once: 0"),
    "region id twice": (changed("annotations.2.id", 100), "annotation ids used more than once: 100"),
    "no category id": (changed("categories.0.id", None), r"categories\[0\] needs 'id'"),
    "category id twice": (
        changed("categories", [{"id": 7, "name": "cat"}, {"id": "7", "name": "dog"}, {"id": 7, "name": "cat"}]),
        "category ids with more than one name: 7; a category has one",
    ),
    "nameless category": (changed("categories.0.name", None), r"categories\[0\] needs 'name'"),
    "number of 5,000 digits": ('{"images": [], "annotations": ' + "9" * 5000 + "}", "digits"),
}


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.fault("duplicate ids or keys, NaN, depth 5,000")
def test_what_is_ambiguous_is_refused_with_the_place(tmp_path: Path, value: Any, message: str) -> None:
    path = written(tmp_path, value)
    with pytest.raises(InputError, match=message) as caught:
        open_manifest(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.fault("duplicate ids or keys, NaN, depth 5,000")
def test_the_first_ten_repeated_ids_are_listed(tmp_path: Path) -> None:
    value = coco(1, 30)
    for annotation in value["annotations"]:
        annotation["id"] %= 15
    with pytest.raises(InputError, match=r"0, 1, 2, 3, 4, 10, 11, 12, 13, 14|(\d+, ){9}\d+ and 5 more"):
        open_manifest(written(tmp_path, value))


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b'{"images": "\xe9"}'], ids=["odd UTF-16", "Latin-1"])
def test_other_encodings_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "masks.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match="not valid JSON"):
        open_manifest(path)


def test_what_is_no_text_is_not_taken_for_broken_json(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(range(128, 256)))
    with pytest.raises(InputError, match=r"it begins with b'.x7fELF.*expected an annotation file") as caught:
        open_manifest(tmp_path / "program")
    assert "JSON:" not in str(caught.value)


@pytest.mark.parametrize("packer", [gzip, bz2, lzma], ids=["gzip", "bzip2", "xz"])
def test_compressed_files_are_called_so(tmp_path: Path, packer: Any, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "masks.json"
    path.write_bytes(packer.compress(json.dumps(coco()).encode()))
    with pytest.raises(InputError, match=f"masks.json: it is compressed by {request.node.callspec.id}; .* unpack it"):
        open_manifest(path)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none.json: No such file"):
        open_manifest(tmp_path / "none.json")
    with pytest.raises(
        InputError,
        match=r"none of 0 pictures has masks; expected a folder of pictures.*; `pdlm caption --propose MODEL` makes",
    ):
        open_manifest(tmp_path)


def test_region_keys_are_stable_and_tell_regions_apart(dataset: Dataset) -> None:
    for image in (dataset.image(), dataset.image()):
        dataset.region(image, POLYGON)
        dataset.region(image, POLYGON)
    entries = list(open_manifest(dataset.write()))
    keys = [region_key(entry, region) for entry in entries for region in entry.regions]
    assert len(set(keys)) == 4
    assert keys == [region_key(entry, region) for entry in open_manifest(dataset.file) for region in entry.regions]
    assert all(len(key) == 32 for key in keys)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_picture_as_input_is_called_one(tmp_path: Path, form: str) -> None:
    path = tmp_path / "photo"
    Image.new("RGB", (8, 8)).save(path, format=form)
    with pytest.raises(InputError, match="photo: it is a picture; expected an annotation file") as caught:
        open_manifest(path)
    assert "pdlm show PICTURE MASKS" in str(caught.value)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def avif() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8)).save(sink, format="AVIF")
    return sink.getvalue()


@pytest.mark.parametrize(("form", "data"), [("HEIC", HEIC), ("AVIF", avif())])
def test_photos_of_phones_are_called_what_they_are(tmp_path: Path, form: str, data: bytes) -> None:
    """As input, and in a folder, where a picture that is read may lie beside."""
    path = tmp_path / f"photo.{form.lower()}"
    path.write_bytes(data)
    said = f"it is a picture in {form}, which is not read: save it as JPEG or PNG; expected an annotation file"
    with pytest.raises(InputError, match=said):
        open_manifest(path)
    (tmp_path / "masks/photo").mkdir(parents=True)
    Image.new("L", (8, 8), 255).save(tmp_path / "masks/photo/0.png")
    manifest, sources = open_with_sources(str(tmp_path))
    (entry,) = manifest
    assert (entry.file_name, len(entry.regions)) == (path.name, 1)
    with pytest.raises(RegionError, match=f"'{path.name}' cannot be decoded: it is {form}.*save it as JPEG or PNG"):
        sources.picture(entry)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg")
    assert [entry.file_name for entry in open_manifest(tmp_path)] == ["photo.jpg"]


def test_the_file_of_a_number_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / "masks.json"
    path.write_text('[{"image": ' + "1" * 4301 + "}]")
    with pytest.raises(InputError, match=r"masks.json: the number at line 1, column 12 has 4,301 digits"):
        open_manifest(path)
