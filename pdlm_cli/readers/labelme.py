"""LabelMe: one picture and its shapes in one JSON file; or a folder of such files, see json_files.py."""

import math
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdlm_cli.images import read_data_address
from pdlm_cli.inputs import MAX_PIXELS
from pdlm_cli.json_stream import Item
from pdlm_cli.mask_files import read_values
from pdlm_cli.masks import MAX_COORDINATE, decode, encode
from pdlm_cli.readers.json_shape import Shape
from pdlm_cli.readers.records import ImageRecord, Records, RegionRecord, name_at, object_at, shown, size_at, text

NAME = "labelme"
EXPECTED = "LabelMe: an object with 'shapes' and 'imagePath', or a folder of such files"
REGION_IDS: Final = "image"
OPEN = ("point", "points", "line", "linestrip")  # kinds of shapes that enclose nothing
CORNERS = 64  # of what stands for a circle

LabelledShape = dict[str, Any]


def recognises(shape: Shape) -> bool:
    return shape.has("shapes", "imagePath")


def read(items: Iterable[Item]) -> Records:
    """The image goes by its file name, a region by the place of its first shape. `imageData`, if there is any, is the
    picture, as it is for LabelMe."""
    shapes: list[LabelledShape] = []
    fields: dict[str, Any] = {}
    for key, index, value in items:
        if key == "shapes" and index is not None:
            shapes.append(object_at(value, f"shapes[{index}]"))
        elif key is not None:
            fields[key] = value
    if not shapes and fields.get("shapes") != []:
        raise ValueError(f"'shapes' must be a list, found {shown(fields.get('shapes'))}; expected {EXPECTED}")
    name = name_at(fields, "imagePath", "the file", "the picture's name, relative to it").replace("\\", "/")
    sides = {"width": fields.get("imageWidth"), "height": fields.get("imageHeight")}
    width, height = size_at(sides, "the size of the image:")
    data = fields.get("imageData")
    yield ImageRecord(name, name, width, height, f"data:;base64,{data}" if isinstance(data, str) else None)
    for place, label, parts in _regions(shapes):
        yield RegionRecord(name, str(place), _mask(parts, width, height), label)


def _regions(shapes: list[LabelledShape]) -> Iterator[tuple[int, str | None, list[LabelledShape]]]:
    """Place of its first shape, label and shapes of each region: shapes of one label and group belong together."""
    regions: dict[object, tuple[int, str | None, list[LabelledShape]]] = {}
    for place, shape in enumerate(shapes):
        if shape.get("shape_type") in OPEN:
            continue
        said, group = shape.get("label"), shape.get("group_id")
        label = text(said, f"shapes[{place}] 'label'") if isinstance(said, str) else None
        own = (label, group) if isinstance(group, int | str) else place
        regions.setdefault(own, (place, label, []))[2].append(shape)
    yield from regions.values()


def _mask(parts: list[LabelledShape], width: int | None, height: int | None) -> Any:
    """Of all parts together, as masks.py has it: polygons, or run lengths where one of them is a mask already."""
    try:
        outlines = [_outline(part) for part in parts if part.get("shape_type") != "mask"]
        crops = [part for part in parts if part.get("shape_type") == "mask"]
        if not crops:
            return outlines
        if width is None or height is None or width * height > MAX_PIXELS:
            raise ValueError(f"a mask needs the size of its image, found {width} x {height}")
        pixels = decode(outlines, width, height) if outlines else np.zeros((height, width), dtype=np.bool_)
        for part in crops:
            _paste(part, pixels)
    except ValueError as error:
        return {"unreadable": str(error)}
    return encode(pixels)


def _outline(shape: LabelledShape) -> list[float]:
    """[x0, y0, x1, y1, ...]"""
    points, kind = _points(shape), shape.get("shape_type")
    if kind == "circle" and len(points) == 2:  # its center and a point of its rim
        (x, y), radius = points[0], math.dist(*points)
        turns = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
        points = [[x + radius * math.cos(turn), y + radius * math.sin(turn)] for turn in turns]
    elif kind == "rectangle" and len(points) == 2:  # any two opposite corners
        (x0, y0), (x1, y1) = points
        points = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    return [number for point in points for number in point]


def _paste(shape: LabelledShape, pixels: NDArray[np.bool_]) -> None:
    """A mask is a PNG of the rectangle whose first corner is the first of its points, and may lead out of the image."""
    data, points = shape.get("mask"), _points(shape)
    if not isinstance(data, str) or not points:
        raise ValueError("a shape that is a mask needs 'mask', a PNG in base64, and 'points', where it lies")
    crop = read_values(BytesIO(read_data_address(f"data:;base64,{data}")), "mask", MAX_PIXELS) > 0
    left, top = (round(number) for number in points[0])
    rows, columns = np.nonzero(crop)
    rows, columns = rows + top, columns + left
    height, width = pixels.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    pixels[rows[inside], columns[inside]] = True


def _points(shape: LabelledShape) -> list[list[float]]:
    points = shape.get("points")
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError(f"'points' must be a list of [x, y], found {shown(points)}")
    if not all(type(number) in (int, float) and abs(number) <= MAX_COORDINATE for point in points for number in point):
        raise ValueError(f"'points' must hold finite pixel coordinates up to {MAX_COORDINATE:.0f}")
    return points
