"""The picture and the masks of a training record."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pdlm_cli import masks
from pdlm_cli.errors import RegionError
from pdlm_cli.images import find_image, load_image, read_data_address

IMAGE_FIELDS = ("image", "images", "image_file", "image_path")


def record_image(record: dict[str, Any], root: Path) -> Image.Image:
    """The one picture of a record, as `record_images` has it."""
    images = record_images(record, root)
    if not images:
        raise RegionError("missing_image", f"expected a picture in {', '.join(IMAGE_FIELDS)}, found none")
    if len(images) != 1:
        raise RegionError("bad_image", f"expected one picture a record of regions, found {len(images)}")
    return images[0]


def record_images(record: dict[str, Any], root: Path) -> list[Image.Image]:
    """The pictures of a record, mode RGB, none if it names none; file names are below `root`. Raises RegionError."""
    value: Any = next((record[name] for name in IMAGE_FIELDS if record.get(name) is not None), [])
    return [_opened(entry, root) for entry in (value if isinstance(value, list) else [value])]


def _opened(value: Any, root: Path) -> Image.Image:
    if isinstance(value, Image.Image):  # drawn, not read
        return value
    if isinstance(value, dict):
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if isinstance(value, str) and value.startswith("data:"):
        value = read_data_address(value)
    if isinstance(value, bytes):
        return load_image(io.BytesIO(value))
    if not isinstance(value, str):
        raise RegionError("missing_image", "expected the name of a picture, or what is in it, found neither")
    return load_image(find_image(root, value, allow_outside=False, option="data.sources.images", trust=None))


def record_regions(record: dict[str, Any]) -> list[tuple[Any, str]]:
    """Mask, as written, and caption of every region. Raises RegionError if the record has not one for the other."""
    if record.get("captions") is not None:
        captions, shapes = record["captions"], record.get("mask_rles")
        if not isinstance(captions, list) or not isinstance(shapes, list) or len(captions) != len(shapes):
            raise RegionError("bad_mask", "expected lists mask_rles and captions of one length")
    else:
        entries = record.get("annotations")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise RegionError("bad_mask", "expected mask_rles and captions, or annotations, found neither")
        captions = [entry.get("caption") for entry in entries]
        shapes = [entry.get("segmentation") for entry in entries]
    if not all(isinstance(caption, str) for caption in captions):
        raise RegionError("bad_mask", "expected a text as caption of every region")
    return list(zip(shapes, captions, strict=True))


def region_pixels(segmentation: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(height, width) of a mask on a picture of `size` (width, height); null is the whole picture.

    Raises RegionError bad_mask, size_mismatch, empty_mask.
    """
    if segmentation is None:
        return np.ones(size[::-1], dtype=bool)
    if isinstance(segmentation, np.ndarray):  # drawn, not read
        return segmentation
    pixels = masks.decode_on(segmentation, size)
    if not pixels.any():
        raise RegionError("empty_mask", "no pixel is inside the mask")
    return pixels
