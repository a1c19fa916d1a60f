"""Picture files: found below their root, really decoded, brought to RGB."""

import base64
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pdlm_cli.errors import RegionError
from pdlm_cli.inputs import MAX_PIXELS

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
HEIF = re.compile(rb"....ftyp(?:(?P<avif>avi[fs])|hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)  # how a file begins
ENDINGS = (".jpg", ".tif", *(f".{form.lower()}" for form in FORMATS))
ORIENTATION = 0x0112  # of EXIF: 1 is upright, 5 to 8 swap the sides

Exif = Literal["auto", "apply", "ignore"]

# Pillow warns between its limit and twice that; a picture to be warned of is one to be refused.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def spellings(name: str) -> list[str]:
    """The name, the two ways Unicode has to spell letters with accents in it, and each with / for the \\ of Windows."""
    accents = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    return list(dict.fromkeys([*accents, *(spelling.replace("\\", "/") for spelling in accents)]))


def find_image(
    root: Path, file_name: str, *, allow_outside: bool, option: str = "--images", trust: str | None = "--allow-outside"
) -> Path:
    """The file `file_name` below `root`, in any of its spellings, links followed.

    option, trust: that name the root and allow files outside of it, for errors. Raises RegionError missing_image, or,
    unless allow_outside, outside_root for an absolute path, `..` or a link that leaves the root.
    """
    for spelling in spellings(file_name):
        try:
            path = (root / spelling).resolve()
            inside, found = path.is_relative_to(root.resolve()), path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # name too long, NUL in it, a loop of links
            raise RegionError("missing_image", f"{file_name!r} cannot be a file: {error}") from error
        if not inside and not allow_outside:
            remedy = f"pass {trust} if the input is trusted" if trust else f"{option} names the folder"
            raise RegionError("outside_root", f"{file_name!r} lies outside {root}; {remedy}")
        if found:
            return path
    raise RegionError("missing_image", f"no file {file_name!r} in {root}; {option} names the folder")


def read_data_address(address: str) -> bytes:
    """The content of `data:...;base64,...`, or of `data:base64,...` as some have it. Raises RegionError bad_image."""
    head, _, text = address.partition(",")
    if head != "data:base64" and not head.endswith(";base64"):
        raise RegionError("bad_image", "a data: address must hold base64")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RegionError("bad_image", f"base64 cannot be decoded: {error}") from error


def picture_ending(name: str, picture: bytes) -> str:
    """Of a copy that is to be taken for a picture: the name's own, or else that of what its content is.

    Raises RegionError bad_image.
    """
    own = PurePosixPath(name).suffix.lower()
    if own in ENDINGS:
        return own
    with _opened(io.BytesIO(picture), name, MAX_PIXELS) as opened:
        return f".{opened.format}".lower()


def load_image(
    source: Path | BinaryIO,
    *,
    name: str | None = None,
    exif: Exif = "ignore",
    drawn_on: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """The first frame of a picture, mode RGB; its size is the frame all masks refer to.

    name: for errors. exif: whether the orientation that the file asks for is applied; "auto" applies it if only that
    gives `drawn_on` (width, height), the size that the masks belong to. The whole picture is decoded: a header can be
    fine where the data stops. Raises RegionError bad_image.
    """
    with _opened(source, name, max_pixels) as picture:
        picture.load()
        turned = ImageOps.exif_transpose(picture) if _is_turned(picture, exif, drawn_on) else picture
        return _to_rgb(turned)


def image_size(
    source: Path | BinaryIO, *, name: str | None, exif: Exif, drawn_on: tuple[int, int] | None, max_pixels: int
) -> tuple[int, int]:
    """(width, height) that load_image would give, from the header alone. Raises RegionError bad_image."""
    with _opened(source, name, max_pixels) as picture:
        return _upright_size(picture) if _is_turned(picture, exif, drawn_on) else picture.size


def open_known(file: BinaryIO) -> Image.Image:
    """A picture of one of FORMATS, its header read. Raises ValueError for others, and what decoders stumble over."""
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        file.seek(0)
        beginning = file.read(12)
        if not beginning:
            raise ValueError("the file is empty") from error
        other = unread_format(beginning)
        if other is not None:
            raise ValueError(f"it is {other}, which is not read; save it as JPEG or PNG") from error
        raise ValueError(f"it begins like none of {', '.join(FORMATS)}") from error


def unread_format(beginning: bytes) -> str | None:
    """HEIC or AVIF by the first 12 bytes of a file, the formats of phones and browsers that are not read here."""
    match = HEIF.match(beginning)
    return None if match is None else "AVIF" if match["avif"] else "HEIC"


@contextmanager
def _opened(source: Path | BinaryIO, name: str | None, max_pixels: int) -> Iterator[Image.Image]:
    """The picture with its header read and its size allowed; whatever happens to it then is bad_image."""
    shown = repr(name if name is not None else source.name) if name or isinstance(source, Path) else "a picture"
    # Pillow's own check is for the whole process; it is as strict as the largest picture anyone here allowed.
    Image.MAX_IMAGE_PIXELS = max(max_pixels, Image.MAX_IMAGE_PIXELS or 0)
    try:
        # Never by its path: Pillow would map some TIFFs into memory, and not turn those.
        with (
            open(source, "rb") if isinstance(source, Path) else nullcontext(source) as file,
            open_known(file) as picture,
        ):
            if picture.width * picture.height > max_pixels:
                raise RegionError(
                    "bad_image",
                    f"{shown} has {picture.width} x {picture.height} pixels, which could be a decompression bomb: "
                    f"more than --max-pixels {max_pixels}",
                )
            yield picture
    except RegionError:
        raise
    # Decoders raise whatever a broken file makes them stumble over; all of it means this file is broken.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise RegionError("bad_image", f"{shown} cannot be decoded: {reason}") from error


def _is_turned(picture: Image.Image, exif: Exif, drawn_on: tuple[int, int] | None) -> bool:
    """Whether the picture is to be turned as its EXIF says.

    The size that masks belong to decides where it can: it cannot for squares, for pictures upside down or mirrored,
    and where the input states no size. Those stay as they are stored, which is how the published model reads all.
    TIFF is turned by Pillow, its orientation being part of how its pixels are laid out.
    """
    if exif == "ignore" or picture.format == "TIFF" or picture.getexif().get(ORIENTATION) not in range(2, 9):
        return False
    return exif == "apply" or (drawn_on not in (None, picture.size) and drawn_on == _upright_size(picture))


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    swapped = picture.getexif().get(ORIENTATION) in range(5, 9)
    return (picture.height, picture.width) if swapped else picture.size


def _to_rgb(picture: Image.Image) -> Image.Image:
    """The one place where pixel formats are settled.

    16-bit values are scaled; transparency is dropped and leaves the colors as they are stored, like the published
    model's own reader; palettes are looked up; CMYK is converted without a color profile.
    """
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers without a range; save it with 8 or 16 bits a channel")
    if picture.mode == "I" and picture.format == "TIFF":  # a PNG in this mode has 16 bits, by older versions of Pillow
        raise ValueError(
            "its pixels are 32-bit or signed integers without a range; save it with 8 or 16 bits a channel"
        )
    if picture.mode.startswith("I;16") or picture.mode == "I":
        # convert("RGB") would clip 16-bit values to white.
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")
