"""`pdlm convert manifest` and `pdlm convert coco`: an input of any format as another, a piece at a time.

Masks become run lengths; those that already are stay as they are written. A region whose mask cannot be used keeps its
row, without a mask or with the broken one, so that captioning the result tells of it as captioning the input would.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pdlm_cli.atomic import open_atomic
from pdlm_cli.errors import RegionError
from pdlm_cli.logs import log
from pdlm_cli.manifest import Manifest
from pdlm_cli.masks import Mask, encode, pack, stated_size
from pdlm_cli.regions import ImageEntry, Region
from pdlm_cli.sources import MaskReader, Size, Sources

GROUP_ROWS = 10_000  # of a row group, and
GROUP_BYTES = 64 << 20  # of the pictures in one
SHOWN_ERRORS = 10

REGION_FIELDS = [
    pa.field("region_id", pa.string()),
    pa.field("rle_counts", pa.string()),
    pa.field("rle_size", pa.list_(pa.field("element", pa.int32()), 2)),
    pa.field("bbox_xywh", pa.list_(pa.field("element", pa.float32()), 4)),
    pa.field("category", pa.string()),
    pa.field("prompt", pa.string()),
]
IMAGE_ID = pa.field("image_id", pa.string())
ROW_A_REGION = pa.schema([pa.field("image_path", pa.string()), IMAGE_ID, *REGION_FIELDS])
ROW_AN_IMAGE = pa.schema(
    [
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        IMAGE_ID,
        pa.field("regions", pa.list_(pa.struct(REGION_FIELDS))),
    ]
)


@dataclass
class Converted:
    """What was written. errors: regions without a usable mask, and pictures that could not be taken along, by code."""

    images: int = 0
    regions: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def exit_code(self) -> int:
        return 3 if self.errors else 0

    def to_json(self) -> str:
        return json.dumps({"images": self.images, "regions": self.regions, "errors": dict(self.errors)})

    def failed(self, what: str, error: RegionError) -> None:
        self.errors[error.code] += 1
        if self.errors.total() <= SHOWN_ERRORS:
            log.warning("%s: %s: %s", what, error.code, error)


@dataclass(frozen=True)
class ReadRegion:
    """A region, its mask, None if that cannot be used, and its run lengths, None if there are none."""

    region: Region
    mask: Mask | None
    rle: dict[str, Any] | None


def write_manifest(manifest: Manifest, sources: Sources, out: Path, *, embed: bool) -> Converted:
    """A Parquet manifest: a row a region; or with embed a row an image, with its picture's file in it.

    Raises OutputError.
    """
    converted = Converted()
    schema = ROW_AN_IMAGE if embed else ROW_A_REGION
    # Readers hold a page whole, and pages are only ended between write batches.
    options = {"write_batch_size": 1} if embed else {}
    with (
        open_atomic(out) as file,
        pq.ParquetWriter(file, schema, compression="zstd", **options) as writer,
        manifest.watched("converting") as entries,
    ):
        rows: list[dict[str, Any]] = []
        weight = 0
        for entry in entries:
            regions = [_manifest_region(found) for found in _read_regions(entry, sources, converted)]
            if embed:
                picture = _picture(entry, sources, converted)
                weight += len(picture or b"")
                image = {"bytes": picture, "path": entry.file_name}
                rows.append({"image": image, "image_id": entry.image_id, "regions": regions})
            else:
                rows += [{"image_path": entry.file_name, "image_id": entry.image_id} | region for region in regions]
            if len(rows) >= GROUP_ROWS or weight >= GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows, weight = [], 0
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return converted


def write_coco(manifest: Manifest, sources: Sources, out: Path) -> Converted:
    """COCO instances. Ids that are whole numbers become numbers; region ids that several images share are replaced by
    the numbers of the annotations, and kept as `region_id`. Raises OutputError."""
    converted = Converted()
    categories: dict[str, int] = {}
    with open_atomic(out) as file:
        file.write(b'{"images": [')
        _write_items(file, (_coco_image(entry, sources) for entry in manifest))
        file.write(b'],\n"annotations": [')
        with manifest.watched("converting") as entries:
            unique = manifest.region_ids_are_unique
            _write_items(file, _coco_annotations(entries, sources, converted, categories, unique))
        file.write(b'],\n"categories": [')
        _write_items(file, ({"id": number, "name": name} for name, number in categories.items()))
        file.write(b"]}\n")
    return converted


def _read_regions(entry: ImageEntry, sources: Sources, converted: Converted) -> Iterator[ReadRegion]:
    """The regions of an image in input order, all of them."""
    masks = MaskReader(sources, entry)
    converted.images += 1
    for region in entry.regions:
        converted.regions += 1
        mask, rle = None, region.segmentation if _is_rle(region.segmentation) else None
        try:
            pixels = masks.pixels(region, _frame(entry, region, sources))
            rle = rle or encode(pixels)
            mask = pack(pixels)
        except RegionError as error:
            converted.failed(f"region {region.region_id} of image {entry.image_id}", error)
        yield ReadRegion(region, mask, rle)


def _frame(entry: ImageEntry, region: Region, sources: Sources) -> Size:
    """(width, height) of the picture that a mask belongs to; the picture is only asked if the input does not say."""
    size = stated_size(region.segmentation) or sources.drawn_on(entry) or sources.picture_size(entry)
    if size[0] * size[1] > sources.max_pixels:
        raise RegionError("bad_image", f"{size[0]} x {size[1]} pixels are more than --max-pixels {sources.max_pixels}")
    return size


def _is_rle(segmentation: Any) -> bool:
    """Whether a mask fits the columns of a manifest as it is, right or wrong."""
    try:
        size = stated_size(segmentation)
    except RegionError:
        return False
    return size is not None and max(size) < 2**31 and isinstance(segmentation.get("counts"), str)


def _manifest_region(found: ReadRegion) -> dict[str, Any]:
    rle = found.rle or {}
    return {
        "region_id": found.region.region_id,
        "rle_counts": rle.get("counts"),
        "rle_size": rle.get("size"),
        "bbox_xywh": found.mask.bbox_xywh if found.mask else None,
        "category": found.region.category,
        "prompt": found.region.prompt,
    }


def _picture(entry: ImageEntry, sources: Sources, converted: Converted) -> bytes | None:
    try:
        with sources.open(entry) as file:
            return file.read()
    except RegionError as error:
        converted.failed(f"image {entry.image_id}", error)
        return None


def _coco_image(entry: ImageEntry, sources: Sources) -> dict[str, Any]:
    image: dict[str, Any] = {"id": _number(entry.image_id), "file_name": entry.file_name}
    size = (entry.width, entry.height) if entry.width and entry.height else sources.drawn_on(entry)
    return image if size is None else image | {"width": size[0], "height": size[1]}


def _coco_annotations(
    entries: Iterable[ImageEntry], sources: Sources, converted: Converted, categories: dict[str, int], unique: bool
) -> Iterator[dict[str, Any]]:
    """categories: numbers by name, filled on the way. unique: whether no two regions share an id."""
    for entry in entries:
        for found in _read_regions(entry, sources, converted):
            region = found.region
            own_id = {"id": _number(region.region_id)}
            annotation: dict[str, Any] = own_id if unique else {"id": converted.regions, "region_id": region.region_id}
            annotation |= {"image_id": _number(entry.image_id), "iscrowd": int(region.crowd)}
            if region.category is not None:
                annotation["category_id"] = categories.setdefault(region.category, len(categories) + 1)
            written = isinstance(region.segmentation, list) or found.rle is None
            annotation["segmentation"] = region.segmentation if written else found.rle
            if found.mask is not None:
                annotation |= {"area": found.mask.area, "bbox": list(found.mask.bbox_xywh)}
            yield annotation


def _number(name: str) -> int | str:
    """An id as COCO's tools like it: a number if it is one."""
    return int(name) if name.isascii() and name.isdigit() and str(int(name)) == name else name


def _write_items(file: BinaryIO, items: Iterable[dict[str, Any]]) -> None:
    for i, item in enumerate(items):
        file.write((",\n" if i else "\n").encode() + json.dumps(item).encode())
