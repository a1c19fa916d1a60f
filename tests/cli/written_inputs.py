"""The sample pictures written in every input format, without the code that reads them.

`python -m tests.cli.written_inputs` makes tests/data/inputs anew.
"""

import base64
import json
import shutil
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.cli.sample_pictures import FOLDER, SAMPLE, Picture, png_of
from tests.cli.support import rle


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths as a list: down the columns, the first run outside."""
    runs = [(value, len(list(run))) for value, run in groupby(mask.flatten(order="F").tolist())]
    counts = [length for _, length in runs]
    return {"size": list(mask.shape), "counts": [0, *counts] if runs[0][0] else counts}


def save_pictures(pictures: tuple[Picture, ...], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        (folder / picture.file).write_bytes(picture.png())


def save(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))
    return path


def category_numbers(pictures: tuple[Picture, ...]) -> dict[str, int]:
    return {name: 7 + i for i, name in enumerate(sorted({name for picture in pictures for name in picture.categories}))}


def coco_lists(pictures: tuple[Picture, ...]) -> dict[str, Any]:
    numbers = category_numbers(pictures)
    images = [{"id": i, "file_name": picture.file} | picture.size for i, picture in enumerate(pictures)]
    annotations = []
    for i, picture in enumerate(pictures):
        for mask, name in zip(picture.masks, picture.categories, strict=True):
            number = len(annotations)
            annotations.append(
                {
                    "id": number,
                    "image_id": i,
                    "category_id": numbers[name],
                    "segmentation": rle(mask) if number % 2 else uncompressed(mask),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"info": {"year": 1}, "images": images, "annotations": annotations, "categories": categories}


def coco(pictures: tuple[Picture, ...], folder: Path) -> Path:
    save_pictures(pictures, folder)
    return save(folder / "masks.json", coco_lists(pictures))


def coco_annotations_first(pictures: tuple[Picture, ...], folder: Path) -> Path:
    """The order of keys in a file means nothing."""
    save_pictures(pictures, folder)
    lists = coco_lists(pictures)
    return save(folder / "masks.json", {key: lists[key] for key in ("annotations", "categories", "images")})


def lvis(pictures: tuple[Picture, ...], folder: Path) -> Path:
    """Pictures lie in the folders of COCO, which their addresses name."""
    lists = coco_lists(pictures)
    for i, (picture, image) in enumerate(zip(pictures, lists["images"], strict=True)):
        part = ("train2017", "val2017")[i % 2]
        save_pictures((picture,), folder / part)
        image["coco_url"] = f"http://images.example/coco/{part}/{image.pop('file_name')}"
    return save(folder / "lvis.json", lists)


def panoptic(pictures: tuple[Picture, ...], folder: Path) -> Path:
    """Ids beyond 65,535 use all three colors."""
    save_pictures(pictures, folder)
    numbers = category_numbers(pictures)
    lists = coco_lists(pictures) | {"annotations": []}
    (folder / "panoptic").mkdir()
    for i, picture in enumerate(pictures):
        ids = np.array([0, *(70_000 * n + 300 * i + n for n in range(1, len(picture.categories) + 1))])
        values = ids[picture.labels]
        colors = np.stack([values % 256, values // 256 % 256, values // 65536], axis=2).astype(np.uint8)
        Image.fromarray(colors).save(folder / "panoptic" / picture.file)
        segments = [
            {"id": int(ids[n]), "category_id": numbers[name], "iscrowd": 0, "area": int((picture.labels == n).sum())}
            for n, name in enumerate(picture.categories, 1)
        ]
        lists["annotations"].append({"image_id": i, "file_name": picture.file, "segments_info": segments})
    return save(folder / "panoptic.json", lists)


def sa1b(pictures: tuple[Picture, ...], folder: Path) -> Path:
    save_pictures(pictures, folder)
    for i, picture in enumerate(pictures):
        annotations = [
            {"id": 1000 * i + n, "segmentation": rle(mask), "predicted_iou": 0.9, "bbox": [0, 0, 1, 1]}
            for n, mask in enumerate(picture.masks)
        ]
        image = {"image_id": i, "file_name": picture.file} | picture.size
        save(folder / f"{picture.name}.json", {"image": image, "annotations": annotations})
    return folder


def paradlc(pictures: tuple[Picture, ...], folder: Path) -> Path:
    """The index has gaps, and the boxes are wrong."""
    save_pictures(pictures, folder)
    images = [
        {"file_name": picture.file, **picture.size, "image_id": str(i)}
        | {
            "annotations": [
                {"index": 3 * n, "category_name": name, "bbox": [9, 9, 0, 0], "mask_rle": rle(mask)}
                for n, (mask, name) in enumerate(zip(picture.masks, picture.categories, strict=True))
            ]
        }
        for i, picture in enumerate(pictures)
    ]
    return save(folder / "annotations.json", images)


def training_rles(pictures: tuple[Picture, ...], folder: Path) -> Path:
    save_pictures(pictures, folder)
    return save(
        folder / "training.json",
        [
            {
                "image": picture.file,
                "mask_rles": [rle(mask) for mask in picture.masks],
                "captions": ["x"] * len(picture.masks),
            }
            for picture in pictures
        ],
    )


def training_embedded(pictures: tuple[Picture, ...], folder: Path) -> Path:
    """Pictures in the file, masks in annotations."""
    return save(
        folder / "training.json",
        [
            {
                "image": "data:image/png;base64," + base64.b64encode(picture.png()).decode(),
                "image_id": picture.name,
                "annotations": [{"caption": "x", "segmentation": uncompressed(mask)} for mask in picture.masks],
            }
            for picture in pictures
        ],
    )


def plain(pictures: tuple[Picture, ...], folder: Path) -> Path:
    """Run lengths and mask pictures in turn."""
    save_pictures(pictures, folder)
    records = []
    for picture in pictures:
        masks: list[Any] = []
        for n, mask in enumerate(picture.masks):
            file = f"{picture.name}-mask{n}.png"
            if n % 2:
                Image.fromarray(mask.astype(np.uint8) * 255).save(folder / file)
            masks.append(file if n % 2 else rle(mask))
        records.append({"image": picture.file, "masks": masks})
    return save(folder / "list.json", records)


def labelme(pictures: tuple[Picture, ...], folder: Path) -> Path:
    """Every other picture lies in its file. Polygons cannot say every set of pixels; shapes that are masks can."""
    for i, picture in enumerate(pictures):
        shapes = []
        for mask, name in zip(picture.masks, picture.categories, strict=True):
            left, top, right, bottom = Image.fromarray(mask).getbbox()
            crop = png_of(Image.fromarray(mask[top:bottom, left:right].astype(np.uint8)))
            own = {"label": name, "shape_type": "mask", "points": [[left, top], [right - 1, bottom - 1]]}
            shapes.append(own | {"mask": base64.b64encode(crop).decode()})
        size = {f"image{side.title()}": pixels for side, pixels in picture.size.items()}
        data = base64.b64encode(picture.png()).decode() if i % 2 else None
        save(folder / f"{picture.name}.json", {"shapes": shapes, "imagePath": picture.file, "imageData": data} | size)
        save_pictures(() if i % 2 else (picture,), folder)
    return folder


def folder_of_masks(pictures: tuple[Picture, ...], folder: Path) -> Path:
    save_pictures(pictures, folder)
    for picture in pictures:
        (folder / "masks" / picture.name).mkdir(parents=True)
        for n, mask in enumerate(picture.masks):
            Image.fromarray(mask).save(folder / "masks" / picture.name / f"{n}.png")
    return folder


def folder_beside(pictures: tuple[Picture, ...], folder: Path) -> Path:
    save_pictures(pictures, folder)
    for picture in pictures:
        for n, mask in enumerate(picture.masks):
            Image.fromarray(mask.astype(np.uint8)).save(folder / f"{picture.name}_{n}.png")
    return folder


def folder_instances(pictures: tuple[Picture, ...], folder: Path) -> Path:
    save_pictures(pictures, folder)
    (folder / "masks").mkdir()
    for picture in pictures:
        Image.fromarray(picture.labels.astype(np.uint16) * 300).save(folder / "masks" / picture.file)
    return folder


def folder_json(pictures: tuple[Picture, ...], folder: Path) -> Path:
    save_pictures(pictures, folder)
    for picture in pictures:
        save(folder / f"{picture.name}.json", {"masks": [rle(mask) for mask in picture.masks]})
    return folder


REGION = [
    pa.field("region_id", pa.string()),
    pa.field("rle_counts", pa.string()),
    pa.field("rle_size", pa.list_(pa.int32(), 2)),
    pa.field("category", pa.string()),
]
IMAGE = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def region_structs(picture: Picture) -> list[dict[str, Any]]:
    return [
        {"region_id": f"r{n}", "rle_counts": rle(mask)["counts"], "rle_size": mask.shape, "category": name}
        for n, (mask, name) in enumerate(zip(picture.masks, picture.categories, strict=True))
    ]


def parquet_regions(pictures: tuple[Picture, ...], folder: Path) -> Path:
    save_pictures(pictures, folder)
    rows = [
        {"image_path": picture.file, "image_id": picture.name} | region
        for picture in pictures
        for region in region_structs(picture)
    ]
    schema = pa.schema([pa.field("image_path", pa.string()), pa.field("image_id", pa.string()), *REGION])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "manifest.parquet", row_group_size=2)
    return folder / "manifest.parquet"


def parquet_images(pictures: tuple[Picture, ...], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "image": {"bytes": picture.png(), "path": picture.file},
            "image_id": picture.name,
            "regions": region_structs(picture),
        }
        for picture in pictures
    ]
    schema = pa.schema([IMAGE, pa.field("image_id", pa.string()), pa.field("regions", pa.list_(pa.struct(REGION)))])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "manifest.parquet", row_group_size=1)
    return folder / "manifest.parquet"


# Writer, the format it writes, and whether the format has names of categories.
WRITERS: dict[str, tuple[Callable[[tuple[Picture, ...], Path], Path], str, bool]] = {
    "coco": (coco, "coco-instances", True),
    "coco_annotations_first": (coco_annotations_first, "coco-instances", True),
    "lvis": (lvis, "lvis", True),
    "panoptic": (panoptic, "coco-panoptic", True),
    "sa1b": (sa1b, "sa-1b", False),
    "paradlc": (paradlc, "paradlc-bench", True),
    "training_rles": (training_rles, "training", False),
    "training_embedded": (training_embedded, "training", False),
    "plain": (plain, "plain", False),
    "labelme": (labelme, "labelme", True),
    "folder_of_masks": (folder_of_masks, "image-folder", False),
    "folder_beside": (folder_beside, "image-folder", False),
    "folder_instances": (folder_instances, "image-folder", False),
    "folder_json": (folder_json, "image-folder", False),
    "parquet_regions": (parquet_regions, "parquet-manifest", True),
    "parquet_images": (parquet_images, "parquet-manifest", True),
}


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name, (write, _, _) in WRITERS.items():
        print(write(SAMPLE, FOLDER / name).relative_to(FOLDER))


if __name__ == "__main__":
    main()
