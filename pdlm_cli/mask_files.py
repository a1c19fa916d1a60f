"""Mask pictures: one region, or several told apart by their values."""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pdlm_cli.errors import RegionError
from pdlm_cli.images import open_known

JPEG_INSIDE = 127  # JPEG blurs the edges of a mask: what is brighter is inside


def read_values(source: BinaryIO, name: str, max_pixels: int) -> NDArray[np.uint32]:
    """(height, width) values of a mask picture, 0 outside.

    Gray pictures have their gray, palettes their index, colors R + 256 G + 65536 B as COCO panoptic has it; JPEG,
    which keeps no exact values, 1 where it is bright. Raises RegionError bad_mask.
    """
    try:
        with open_known(source) as picture:
            if picture.width * picture.height > max_pixels:
                raise ValueError(f"{picture.width} x {picture.height} pixels are more than --max-pixels {max_pixels}")
            if picture.format == "JPEG":
                return (np.asarray(picture.convert("L")) > JPEG_INSIDE).astype(np.uint32)
            return _values(picture)
    except Exception as error:  # as in images.py, decoders raise whatever they stumble over
        raise RegionError("bad_mask", f"{name!r} cannot be decoded: {error}") from error


def inside(values: NDArray[np.uint32], segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """(height, width), True inside. segmentation: {"file": ...}, with "id" if only that value counts."""
    if "id" not in segmentation:
        return values > 0
    wanted = str(segmentation["id"])
    if not wanted.isascii() or not wanted.isdigit() or not 0 < int(wanted) < 2**32:
        raise RegionError("bad_mask", f"{wanted[:40]!r} is no value of a mask picture: 0 is outside, 1 is the first")
    pixels: NDArray[np.bool_] = values == int(wanted)
    return pixels


def _values(picture: Image.Image) -> NDArray[np.uint32]:
    if picture.mode in ("1", "L", "P", "I") or picture.mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint32)
    if picture.mode in ("LA", "PA"):
        gray, alpha = (np.asarray(band) for band in picture.split())
        return np.where(alpha > 0, gray, 0).astype(np.uint32)
    if picture.mode not in ("RGB", "RGBA"):
        raise ValueError(f"a mask must be gray, of a palette or RGB, found mode {picture.mode}")
    bands = [np.asarray(band).astype(np.uint32) for band in picture.split()]
    values = bands[0] + 256 * bands[1] + 65536 * bands[2]
    return np.where(bands[3] > 0, values, 0) if picture.mode == "RGBA" else values
