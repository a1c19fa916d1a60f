"""COCO instances: images, annotations, categories, in this order."""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from pdlm_cli.atomic import open_atomic
from pdlm_cli.conversions.json_lists import write_items
from pdlm_cli.conversions.numbers import id_number
from pdlm_cli.conversions.source import ConversionSource, ReadRegion, sides
from pdlm_cli.masks import enclosing
from pdlm_cli.regions import ImageEntry
from pdlm_cli.sources import Size

HOLDS = ("category", "crowd", "caption")


class Categories(dict[str, int]):
    """Numbers by name: those that the input has, and for other names the least that are free, as names are met."""

    def __init__(self, listed: Iterable[tuple[str, str]]) -> None:
        """listed: id and name of each, see Manifest.categories."""
        for key, name in listed:
            if isinstance(number := id_number(key), int):
                self.setdefault(name, number)
        taken = set(self.values())
        self._free = (number for number in count(1) if number not in taken)

    def of(self, name: str | None) -> dict[str, int]:
        """What an annotation says of its category."""
        if name is None:
            return {}
        if name not in self:
            self[name] = next(self._free)
        return {"category_id": self[name]}

    def listed(self) -> Iterator[dict[str, Any]]:
        return ({"id": number, "name": name} for name, number in self.items())


def write(source: ConversionSource, out: Path) -> None:
    """Ids that are whole numbers become numbers; region ids that several images share are replaced by the numbers of
    the annotations, and kept as `region_id`. Raises OutputError."""
    write_instances(source, out, lambda entry: {"file_name": entry.file_name})


def write_instances(source: ConversionSource, out: Path, named: Callable[[ImageEntry], dict[str, str]]) -> None:
    """named: what says where the picture of an image is."""
    categories = Categories(source.manifest.categories)
    with open_atomic(out) as file:
        file.write(b'{"images": [')
        write_items(file, (image(entry, source.size(entry)) | named(entry) for entry in source.entries()))
        file.write(b'],\n"annotations": [')
        with source.images() as entries:
            write_items(file, _annotations(entries, source, categories))
        file.write(b'],\n"categories": [')
        write_items(file, categories.listed())
        file.write(b"]}\n")


def image(entry: ImageEntry, size: Size | None) -> dict[str, Any]:
    """What the list of images says of one, but for its picture. size: (width, height) in pixels."""
    return {"id": id_number(entry.image_id)} | sides(size)


def _annotations(
    entries: Iterable[ImageEntry], source: ConversionSource, categories: Categories
) -> Iterator[dict[str, Any]]:
    unique = source.manifest.region_ids_are_unique
    place = 0
    for entry in entries:
        for found in source.regions(entry):
            region, place = found.region, place + 1
            own_id: dict[str, Any] = {"id": id_number(region.region_id)}
            if not unique:
                own_id = {"id": place, "region_id": region.region_id}
                source.renamed("region ids", region.region_id, place)
            annotation = own_id | {"image_id": id_number(entry.image_id), "iscrowd": int(region.crowd)}
            annotation |= {"segmentation": _segmentation(found)}
            if found.mask is not None:
                annotation |= {"area": found.mask.area, "bbox": list(found.mask.bbox_xywh)}
            if region.caption is not None:
                annotation |= {"caption": region.caption}
            yield annotation | categories.of(region.category)


def _segmentation(found: ReadRegion) -> Any:
    """Polygons and run lengths as they are, all other masks as run lengths; a mask that cannot be used as it is."""
    if found.rle is None:
        return found.region.segmentation
    return enclosing(found.region.segmentation) if isinstance(found.region.segmentation, list) else found.rle
