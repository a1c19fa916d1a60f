"""What the input says: an image and its regions. Masks stay as they were written until they are needed."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Region:
    """One region to caption.

    region_id: unique within its image. source_index: its place in the input, from 0.
    segmentation: the mask as the input gives it, not yet validated: polygons or run lengths (see masks.py).
    """

    region_id: str
    source_index: int
    category: str | None
    crowd: bool
    segmentation: Any


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image of the input with its regions, in input order.

    file_name: relative to the images folder. width, height: pixels as the input states them, None if it
    does not; the picture itself may disagree.
    """

    image_id: str
    file_name: str
    width: int | None
    height: int | None
    regions: tuple[Region, ...]


def region_key(image: ImageEntry, region: Region) -> str:
    """Identity of a region across runs: 32 hex digits over image id, region id, mask and image reference.

    The mask enters as it is written in the input, so that a region whose mask does not decode has a key too.
    """
    identity = [image.image_id, region.region_id, region.segmentation, image.file_name]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
