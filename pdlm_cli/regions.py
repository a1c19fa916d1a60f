"""What the input says: an image and its regions. Masks stay as they were written until they are needed."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from pdlm_cli.errors import ErrorCode


class ParquetCell(NamedTuple):
    """Where a picture lies in a Parquet input. file: number of the file, counted from 0, as are group and row."""

    file: int
    group: int
    row: int


FILE_HASH_DIGITS = 16  # of a mask picture, where the input itself has a hash of it

Embedded = str | ParquetCell  # a picture that the input holds itself: `data:...;base64,...`, or a cell of Parquet


@dataclass(frozen=True, slots=True)
class Region:
    """One region to caption.

    region_id: unique within its image. source_index: its place in the input, from 0.
    segmentation: the mask as the input gives it, not yet validated: polygons, run lengths, ... (see masks.py).
    prompt: what the input wants to be asked about this region, None if it says nothing. caption: what it says of the
    region already; only conversions look at it.
    """

    region_id: str
    source_index: int
    category: str | None
    crowd: bool
    segmentation: Any
    prompt: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image of the input with its regions, in input order.

    file_name: relative to the images folder, or only a name where the picture is embedded. width, height: pixels
    as the input states them, None if it does not; the picture itself may disagree. refused: why none of its
    regions can be captioned, whatever picture and masks are like: code and message.
    """

    image_id: str
    file_name: str
    width: int | None
    height: int | None
    regions: tuple[Region, ...]
    embedded: Embedded | None = None
    refused: tuple[ErrorCode, str] | None = None


def region_key(image: ImageEntry, region: Region) -> str:
    """Identity of a region across runs: 32 hex digits over image id, region id, mask and image reference.

    The mask enters as it is written in the input, so that a region whose mask does not decode has a key too.
    """
    identity = [image.image_id, region.region_id, region.segmentation, image.file_name]
    return _sha256(identity)[:32]


def mask_file(region: Region) -> str | None:
    """Name of the mask picture that holds a region, if one does."""
    name = region.segmentation.get("file") if isinstance(region.segmentation, dict) else None
    return name if isinstance(name, str) else None


def mask_sha256(region: Region, file_sha256: str | None = None) -> str:
    """Of a mask as it is written in the input; of a mask picture by its content, whatever its name.

    file_sha256: of the mask picture, in hex. Where that is not known, and the input has no hash of it either, the name
    counts.
    """
    mask = region.segmentation
    if file_sha256 is not None:
        mask = {**mask, "sha256": file_sha256[:FILE_HASH_DIGITS]}
    if isinstance(mask, dict) and "sha256" in mask:
        mask = {name: value for name, value in mask.items() if name != "file"}
    return _sha256(mask)


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
