"""Writes masks.json, a COCO instances file with every kind of region, and shapes.png, the second picture it names.

The photo's regions are compressed run lengths, made from its mask pictures. The drawn picture has the other two ways
in which COCO writes regions: a polygon and, for a crowd, uncompressed run lengths.
"""

import json
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

EXAMPLES = Path(__file__).resolve().parents[1]
CATEGORIES = {1: "person", 2: "sports ball", 3: "tennis racket", 4: "triangle", 5: "dots"}

SHAPES_SIZE = (320, 240)  # width, height
RING = ((24, 40, 144, 160), (60, 76, 108, 124))  # outer and inner circle, as boxes x0 y0 x1 y1
TRIANGLE = (232, 24, 296, 136, 168, 136)  # x0 y0 x1 y1 x2 y2
DOTS = [(x - 9, y - 9, x + 9, y + 9) for y in (176, 212) for x in range(176, 305, 32)]


def draw_shapes() -> Image.Image:
    picture = Image.new("RGB", SHAPES_SIZE, (236, 232, 220))
    pen = ImageDraw.Draw(picture)
    pen.ellipse(RING[0], fill=(30, 90, 200))
    pen.ellipse(RING[1], fill=(236, 232, 220))
    pen.polygon(TRIANGLE, fill=(205, 45, 40))
    for dot in DOTS:
        pen.ellipse(dot, fill=(240, 180, 20))
    return picture


def dots_mask() -> np.ndarray:
    stencil = Image.new("L", SHAPES_SIZE, 0)
    pen = ImageDraw.Draw(stencil)
    for dot in DOTS:
        pen.ellipse(dot, fill=255)
    return np.asarray(stencil) > 0


def photo_mask(index: int) -> np.ndarray:
    stencil = Image.open(EXAMPLES / "photo" / f"demo_mask_{index}.jpg").convert("L")
    return np.asarray(stencil) > 127  # a JPEG mask has gray seams: half is the border


def compressed_rle(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def uncompressed_rle(mask: np.ndarray) -> dict:
    column_major = mask.ravel(order="F")
    counts = [len(list(run)) for _, run in groupby(column_major)]
    if column_major[0]:  # counts start with the pixels outside, even if there are none
        counts.insert(0, 0)
    return {"size": list(mask.shape), "counts": counts}


def annotation(image_id: int, category_id: int, segmentation: dict | list, mask: np.ndarray, crowd: int = 0) -> dict:
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    return {
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": segmentation,
        "area": int(mask.sum()),
        "bbox": [x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1],
        "iscrowd": crowd,
    }


def coco_file() -> dict:
    with Image.open(EXAMPLES / "photo" / "demo.jpg") as photo:
        photo_size = photo.size
    images = [
        {"id": 1, "file_name": "photo/demo.jpg", "width": photo_size[0], "height": photo_size[1]},
        {"id": 2, "file_name": "coco/shapes.png", "width": SHAPES_SIZE[0], "height": SHAPES_SIZE[1]},
    ]
    photo_masks = [photo_mask(index) for index in range(3)]
    dots = dots_mask()
    polygon = [list(map(float, TRIANGLE))]
    triangle = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygon, *SHAPES_SIZE[::-1]))).astype(bool)
    annotations = [
        *(annotation(1, index + 1, compressed_rle(mask), mask) for index, mask in enumerate(photo_masks)),
        annotation(2, 4, polygon, triangle),
        annotation(2, 5, uncompressed_rle(dots), dots, crowd=1),
    ]
    return {
        "info": {
            "description": "Every way in which COCO writes a region; file names are relative to the folder examples"
        },
        "images": images,
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
    }


def main() -> None:
    folder = EXAMPLES / "coco"
    draw_shapes().save(folder / "shapes.png", optimize=True)
    with (folder / "masks.json").open("w") as file:
        json.dump(coco_file(), file)
        file.write("\n")


if __name__ == "__main__":
    main()
