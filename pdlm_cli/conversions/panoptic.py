"""COCO panoptic: an annotation an image, whose segments are the colors of one PNG in the folder beside the file.

A pixel has one color. The first region that covers it has it; a later region that would share one cannot be held as it
is, and is left out whole, so that every region that is there has the mask it had.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pdlm_cli.atomic import open_atomic, open_folder
from pdlm_cli.conversions.coco import Categories, image
from pdlm_cli.conversions.file_names import FileNames, picture_name, stem_of
from pdlm_cli.conversions.folders import sign
from pdlm_cli.conversions.json_lists import write_items
from pdlm_cli.conversions.numbers import id_number, numbered
from pdlm_cli.conversions.source import ConversionSource
from pdlm_cli.errors import RegionError
from pdlm_cli.masks import Mask
from pdlm_cli.regions import ImageEntry, Region
from pdlm_cli.sources import Size

HOLDS = ("category", "crowd")

COLORS = 1 << 24


def pictures_folder(out: Path) -> Path:
    """Where the reader looks for the PNGs of a file."""
    return out.with_suffix("")


def write(source: ConversionSource, out: Path) -> None:
    """Regions whose id is no color get another one. Raises OutputError."""
    categories, names = Categories(source.manifest.categories), FileNames()
    with open_atomic(out) as file, open_folder(pictures_folder(out)) as folder:
        sign(folder)
        file.write(b'{"images": [')
        write_items(file, (_image(entry, source) for entry in source.entries()))
        file.write(b'],\n"annotations": [')
        with source.images() as entries:
            write_items(file, _annotations(entries, source, folder, names, categories))
        file.write(b'],\n"categories": [')
        write_items(file, categories.listed())
        file.write(b"]}\n")


def _image(entry: ImageEntry, source: ConversionSource) -> dict[str, Any]:
    return image(entry, source.sources.drawn_on(entry)) | {"file_name": entry.file_name}


def _annotations(
    entries: Iterable[ImageEntry], source: ConversionSource, folder: Path, names: FileNames, categories: Categories
) -> Iterator[dict[str, Any]]:
    """Of the images that have a region left; their PNGs are written on the way."""
    for entry in entries:
        drawing = _Drawing(source.sources.drawn_on(entry))
        segments = []
        for found, color in zip(source.regions(entry), numbered(entry.regions, _own_color, first=1), strict=True):
            if found.mask is None:
                continue
            try:
                taken = drawing.add(found.mask, color)
            except RegionError as error:
                source.converted.failed(entry, found.region, error)
                continue
            if taken:
                source.converted.told(entry, found.region, "overlap", "it shares pixels with an earlier region")
                continue
            source.renamed("region ids", found.region.region_id, color)
            segments.append(
                {
                    "id": color,
                    "iscrowd": int(found.region.crowd),
                    "area": found.mask.area,
                    "bbox": list(found.mask.bbox_xywh),
                }
                | categories.of(found.region.category)
            )
        if drawing.colors is not None:
            name = f"{names.give(stem_of(picture_name(entry)))}.png"
            _picture(drawing.colors).save(folder / name, "PNG")
            yield {"image_id": id_number(entry.image_id), "file_name": name, "segments_info": segments}


def _own_color(region: Region) -> int | None:
    found = id_number(region.region_id)
    return found if isinstance(found, int) and 0 < found < COLORS else None


class _Drawing:
    """The regions of one picture. size: (width, height) that they must have, None for that of the first.

    colors: (height, width), 0 where no region is; None before the first.
    """

    def __init__(self, size: Size | None) -> None:
        self._size = size
        self.colors: NDArray[np.uint32] | None = None

    def add(self, mask: Mask, color: int) -> bool:
        """Draw a region, or return True if it shares pixels with another. Raises RegionError size_mismatch."""
        size = self._size = self._size or (mask.width, mask.height)
        if size != (mask.width, mask.height):
            raise RegionError(
                "size_mismatch",
                f"the mask has {mask.width}x{mask.height} pixels, the others of its picture {size[0]}x{size[1]}",
            )
        pixels = mask.pixels()
        if self.colors is None:
            self.colors = np.zeros(pixels.shape, np.uint32)
        if self.colors[pixels].any():
            return True
        self.colors[pixels] = color
        return False


def _picture(colors: NDArray[np.uint32]) -> Image.Image:
    """R + 256 G + 65536 B."""
    return Image.fromarray(np.stack([colors, colors >> 8, colors >> 16], axis=2).astype(np.uint8))
