"""Files of LabelMe: shapes of every kind, groups, pictures inside and beside, and what is wrong with some."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.manifest import open_manifest
from pdlm_cli.masks import decode
from pdlm_cli.sources import MaskReader, open_with_sources
from tests.cli.support import box_mask

WIDTH, HEIGHT = 40, 30


def png(pixels: np.ndarray) -> str:
    sink = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(sink, "PNG")
    return base64.b64encode(sink.getvalue()).decode()


def shape(kind: str | None, points: Any, label: str = "cat", **fields: Any) -> dict[str, Any]:
    own = {"label": label, "points": points, "group_id": None, "description": "", "flags": {}, **fields}
    return own if kind is None else own | {"shape_type": kind}


def write(path: Path, *shapes: Any, **fields: Any) -> Path:
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    held = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": None, **size}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(held | fields))
    return path


def masks_of(path: Path) -> list[np.ndarray | str]:
    """Of the only image: pixels, or what is wrong."""
    manifest, sources = open_with_sources(str(path))
    (entry,) = manifest
    reader, found = MaskReader(sources, entry), []
    for region in entry.regions:
        try:
            found.append(reader.pixels(region, (WIDTH, HEIGHT)))
        except RegionError as error:
            found.append(str(error))
    return found


def test_shapes_of_every_kind(tmp_path: Path) -> None:
    box, square = box_mask(WIDTH, HEIGHT, 4, 6, 10, 8), [[4, 6], [14, 6], [14, 14], [4, 14]]
    crop = np.array([[1, 0], [1, 1]])
    path = write(
        tmp_path / "a.json",
        shape("polygon", square),
        shape(None, square),  # of old versions
        shape("rectangle", [[14.0, 14.0], [4.0, 6.0]]),
        shape("rotation", square),  # of tools that write the same files
        shape("point", [[1, 1]]),
        shape("linestrip", [[1, 1], [9, 9], [1, 9]]),
        shape("mask", [[20, 10], [21, 11]], mask=png(crop)),
        shape("mask", [[39.4, 28.6], [40, 30]], mask=png(crop)),  # in part outside
        shape("circle", [[20, 15], [20, 5]]),
    )
    assert open_manifest(path).format == "labelme"
    *boxes, drawn, cut, circle = masks_of(path)
    assert len(boxes) == 4 and all(np.array_equal(mask, box) for mask in boxes)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10, 20] = expected[11, 20] = expected[11, 21] = True
    assert np.array_equal(drawn, expected)
    assert np.argwhere(cut).tolist() == [[29, 39]]
    rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
    distance = np.hypot(columns - 20, rows - 15)
    assert circle[distance < 9].all() and not circle[distance > 11].any()
    (entry,) = open_manifest(path)
    assert [region.region_id for region in entry.regions] == ["0", "1", "2", "3", "6", "7", "8"]


def test_shapes_of_one_label_and_group_are_one_region(tmp_path: Path) -> None:
    left, right = [[1, 1], [4, 4]], [[10, 1], [13, 4]]
    path = write(
        tmp_path / "a.json",
        shape("rectangle", left, group_id=1),
        shape("rectangle", left, "dog", group_id=1),
        shape("rectangle", right, group_id=1),
        shape("mask", [[20, 20], [21, 20]], "dog", group_id=1, mask=png(np.ones((1, 2)))),
        shape("rectangle", right),
    )
    (entry,) = open_manifest(path)
    assert [region.region_id for region in entry.regions] == ["0", "1", "4"]
    assert [region.category for region in entry.regions] == ["cat", "dog", "cat"]
    cat, dog, alone = masks_of(path)
    first, second = box_mask(WIDTH, HEIGHT, 1, 1, 3, 3), box_mask(WIDTH, HEIGHT, 10, 1, 3, 3)
    assert np.array_equal(cat, first | second)
    assert np.array_equal(dog, first | box_mask(WIDTH, HEIGHT, 20, 20, 2, 1))
    assert np.array_equal(alone, second)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (shape("polygon", None), r"'points' must be a list of \[x, y\], found nothing"),
        (shape("polygon", [[1, 2], [3]]), r"'points' must be a list of \[x, y\]"),
        (shape("polygon", [[1, 2], [3, "x"], [4, 5]]), "'points' must hold finite pixel coordinates"),
        (shape("polygon", [[1, 2], [3, 10**400], [4, 5]]), "'points' must hold finite pixel coordinates"),
        (shape("rectangle", [[1, 2]]), "a polygon needs x and y of at least three points"),
        (shape("mask", [[1, 2], [3, 4]]), "needs 'mask', a PNG in base64"),
        (shape("mask", [[1, 2], [3, 4]], mask="!"), "base64 cannot be decoded"),
        (shape("mask", [[1, 2], [3, 4]], mask="YQ=="), "'mask' cannot be decoded"),
    ],
    ids=str,
)
def test_a_shape_that_cannot_be_read_is_a_region_that_cannot(tmp_path: Path, wrong: Any, message: str) -> None:
    path = write(tmp_path / "a.json", shape("rectangle", [[1, 1], [4, 4]]), wrong)
    good, bad = masks_of(path)
    assert np.array_equal(good, box_mask(WIDTH, HEIGHT, 1, 1, 3, 3))
    assert isinstance(bad, str) and re.search(message, bad)


def test_a_mask_needs_the_size_of_its_image(tmp_path: Path) -> None:
    drawn = shape("mask", [[1, 2], [3, 4]], mask=png(np.ones((3, 3))))
    for size in (None, 10**6):
        (entry,) = open_manifest(write(tmp_path / "a.json", drawn, imageWidth=size, imageHeight=size))
        reason = f"a mask needs the size of its image, found {size} x {size}"
        assert entry.regions[0].segmentation == {"unreadable": reason}


def test_pictures_lie_in_the_file_or_beside_it(tmp_path: Path) -> None:
    region = shape("rectangle", [[1, 1], [4, 4]])
    inside, beside = np.full((HEIGHT, WIDTH, 3), 1), np.full((HEIGHT, WIDTH, 3), 2, np.uint8)
    write(tmp_path / "labels/a.json", region, imageData=png(inside))
    write(tmp_path / "labels/b.json", region, imagePath="..\\photos\\b.png")
    write(tmp_path / "more/a.json", region)
    for name in ("photos/b.png", "more/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(beside).save(tmp_path / name)
    manifest, sources = open_with_sources(str(tmp_path))
    assert manifest.format == "labelme"
    pixels = {entry.image_id: int(np.asarray(sources.picture(entry)).max()) for entry in manifest}
    assert pixels == {"labels/a.png": 1, "labels/../photos/b.png": 2, "more/a.png": 2}


def test_files_that_are_none_of_labelme_are_told_of(tmp_path: Path) -> None:
    write(tmp_path / "a.json", shape("rectangle", [[1, 1], [4, 4]]))
    (tmp_path / "b.json").write_text('{"shapes": 7, "imagePath": "b.jpg"}')
    a, b = open_manifest(tmp_path)
    assert (a.file_name, b.file_name) == ("a.png", "b.jpg")
    with pytest.raises(RegionError, match=r"b\.json: 'shapes' must be a list, found 7; expected LabelMe"):
        decode(b.regions[0].segmentation, WIDTH, HEIGHT)
    with pytest.raises(InputError, match="'shapes' must be a list, found 7"):
        open_manifest(tmp_path / "b.json")
    with pytest.raises(InputError, match="the file needs 'imagePath'"):
        open_manifest(write(tmp_path / "c.json", imagePath=None))
    write(tmp_path / "b.json")
    (tmp_path / "c.json").unlink()
    with pytest.raises(InputError, match=r"image ids used more than once: a\.png"):
        open_manifest(tmp_path)
