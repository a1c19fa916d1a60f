"""Picture files: found below their root, really decoded, brought to RGB."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from pdlm_cli.errors import RegionError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")

# Pillow warns between its limit and twice that; a picture to be warned of is one to be refused.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def find_image(root: Path, file_name: str, *, allow_outside: bool) -> Path:
    """The file `file_name` below `root`, links followed.

    Raises RegionError missing_image, or, unless allow_outside, outside_root for an absolute path, `..` or a
    link that leaves the root.
    """
    try:
        path = (root / file_name).resolve()
        inside, found = path.is_relative_to(root.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # name too long, NUL in it, a loop of links
        raise RegionError("missing_image", f"{file_name!r} cannot be a file: {error}") from error
    if not inside and not allow_outside:
        raise RegionError(
            "outside_root", f"{file_name!r} lies outside {root}; pass --allow-outside if the input is trusted"
        )
    if not found:
        raise RegionError("missing_image", f"no file {file_name!r} in {root}; --images names the folder")
    return path


def load_image(source: Path | BinaryIO) -> Image.Image:
    """The first frame of a picture, mode RGB, as stored; its size is the frame all masks refer to.

    The whole picture is decoded: a header can be fine where the data stops. Raises RegionError bad_image.
    """
    name = repr(source.name) if isinstance(source, Path) else "an embedded picture"
    try:
        with Image.open(source, formats=FORMATS) as picture:
            picture.load()
            return _to_rgb(picture)
    # Decoders raise whatever a broken file makes them stumble over; all of it means this file is broken.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise RegionError("bad_image", f"{name} cannot be decoded: {reason}") from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    """The one place where orientation and pixel formats are settled: EXIF rotation is not applied."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        # convert("RGB") would clip 16-bit values to white.
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    return picture.convert("RGB")
