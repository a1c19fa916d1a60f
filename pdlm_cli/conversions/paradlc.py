"""ParaDLC-Bench: a list of images with their regions, which go by <image_id>_<index>."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pdlm_cli.atomic import open_atomic
from pdlm_cli.conversions.json_lists import write_list
from pdlm_cli.conversions.numbers import id_number, numbered
from pdlm_cli.conversions.source import ConversionSource, sides
from pdlm_cli.regions import ImageEntry, Region

HOLDS = ("category",)


def write(source: ConversionSource, out: Path) -> None:
    """Only numbers are an index: with texts, two images could share a key. Raises OutputError."""
    with open_atomic(out) as file, source.images() as entries:
        write_list(file, _images(entries, source))


def _images(entries: Iterable[ImageEntry], source: ConversionSource) -> Iterator[dict[str, Any]]:
    for entry in entries:
        head = {"file_name": entry.file_name, **sides(source.size(entry)), "image_id": entry.image_id}
        yield head | {"annotations": _regions(entry, source)}


def _regions(entry: ImageEntry, source: ConversionSource) -> list[dict[str, Any]]:
    def own(region: Region) -> int | None:
        found = id_number(region.region_id.removeprefix(f"{entry.image_id}_"))
        return found if isinstance(found, int) else None

    annotations = []
    for found, index in zip(source.regions(entry), numbered(entry.regions, own, first=0), strict=True):
        region = found.region
        source.renamed("region ids", region.region_id.removeprefix(f"{entry.image_id}_"), index)
        annotation: dict[str, Any] = {"index": index}
        if region.category is not None:
            annotation |= {"category_name": region.category}
        if found.mask is not None:
            left, top, width, height = found.mask.bbox_xywh
            annotation |= {"bbox": [left, top, left + width, top + height]}
        annotations.append(annotation | {"mask_rle": found.written})
    return annotations
