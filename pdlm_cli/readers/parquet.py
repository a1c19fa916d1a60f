"""Parquet manifests: a row a region, or a row an image with a list of regions; also the training JSON's columns.

Read batch by batch. Pictures that the file holds stay in it: an image only says in which row its picture lies.
"""

import json
from collections.abc import Sequence
from typing import Any, BinaryIO, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pdlm_cli.readers.records import ImageRecord, Records, RegionRecord, caption_of, id_at, list_at, object_at, text
from pdlm_cli.readers.training import pair_captions
from pdlm_cli.regions import ParquetCell

NAME = "parquet-manifest"
EXPECTED = (
    "a Parquet manifest: 'image' (struct of bytes and path) or 'image_path'; 'image_id'; and 'region_id', "
    "'rle_counts', 'rle_size' as columns or in the structs of a list 'regions'"
)
REGION_IDS: Final = "image"

BATCH_ROWS = 1_000
PICTURES_AT_ONCE = 4
BUFFER = 1 << 20  # bytes of a column that are read at once
REGION_COLUMNS = ("region_id", "rle_counts", "rle_size")
SAID_OF_REGIONS = ("category", "prompt")


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def read(files: Sequence[tuple[str, BinaryIO]], sha256: Hash) -> Records:
    """Images and regions of all files, in order.

    files: name in their folder, "" for a file that is the input itself, and content of each. sha256: takes in what the
    files say; for the pictures in them, which are not read here, their footers stand.
    """
    for number, (name, file) in enumerate(files):
        try:
            with open_parquet(file) as parquet:
                sha256.update(_footer(file))
                yield from _read_file(parquet, number, sha256)
        except (pa.ArrowException, ValueError, OSError) as error:
            raise ValueError(f"{name}: {error}" if name else str(error)) from error


def open_parquet(file: BinaryIO) -> pq.ParquetFile:
    """Columns are read in pieces, so that a row group of pictures is never held whole. Raises pa.ArrowException."""
    return pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)


def _read_file(parquet: pq.ParquetFile, number: int, sha256: Hash) -> Records:
    columns = _columns(parquet.schema_arrow)
    last: tuple[str, str] | None = None
    for group in range(parquet.num_row_groups):
        embedded = _holds_pictures(parquet, group)
        place = 0
        for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
            rows = batch.to_pylist()
            sha256.update(json.dumps(rows, default=str).encode())
            for row in rows:
                where = f"row {place} of row group {group}"
                image = _image(row, ParquetCell(number, group, place) if embedded else None, where)
                if last != (image.image_id, image.file_name):
                    yield image
                last = image.image_id, image.file_name
                yield from _regions(row, image.image_id, where)
                place += 1


def _columns(schema: pa.Schema) -> list[str]:
    """The columns to read. Raises ValueError for a file that lacks some."""
    names = set(schema.names)
    pictures = []
    if "image" in names and pa.types.is_struct(schema.field("image").type):
        fields = {field.name for field in schema.field("image").type}
        pictures += ["image.path"] if "path" in fields else []
        held = "bytes" in fields
    else:
        held = False
    pictures += ["image_path"] if "image_path" in names else []
    listed = next((name for name in ("regions", "mask_rles") if name in names), None)
    needed = ["image_id", *([listed] if listed else REGION_COLUMNS)]
    missing = [name for name in needed if name not in names] + ([] if pictures or held else ["image"])
    if missing:
        raise ValueError(f"columns are missing: {', '.join(missing)}; expected {EXPECTED}")
    for name in (listed,) if listed else ("rle_counts", "rle_size"):
        if not _is_plain(schema.field(name).type, REGION_COLUMNS if name == "regions" else None):
            raise ValueError(
                f"{name} is {schema.field(name).type}; expected text, numbers, lists or structs of them. The counts of "
                "pycocotools are bytes, which decode() makes text"
            )
    said = [name for name in SAID_OF_REGIONS if name in names and not listed]
    if listed == "mask_rles" and "captions" in names and _is_plain(schema.field("captions").type):
        said.append("captions")
    return pictures + needed + said


def _is_plain(kind: pa.DataType, fields: Sequence[str] | None = None) -> bool:
    """Whether JSON can say what a column says. fields: of its structs that matter, None for all."""
    if pa.types.is_struct(kind):
        return all(_is_plain(field.type) for field in kind if fields is None or field.name in fields)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_plain(kind.value_type, fields)
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    plain = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_null)
    return any(is_one(kind) for is_one in plain)


def _holds_pictures(parquet: pq.ParquetFile, group: int) -> bool:
    """Whether any row of a row group has bytes of a picture, or damage where they were; read up to the first.

    Not told by the statistics: pyarrow ends the process where those are damaged.
    """
    image = parquet.schema_arrow.field("image").type if "image" in parquet.schema_arrow.names else None
    if image is None or not pa.types.is_struct(image) or image.get_field_index("bytes") < 0:
        return False
    try:
        batches = parquet.iter_batches(PICTURES_AT_ONCE, row_groups=[group], columns=["image.bytes"])
        return any(batch.column(0).field(0).null_count < len(batch) for batch in batches)
    except (pa.ArrowException, OSError):
        return True


def _image(row: dict[str, Any], cell: ParquetCell | None, where: str) -> ImageRecord:
    image_id = id_at(row, "image_id", where)
    name = (row.get("image") or {}).get("path") or row.get("image_path")
    if name is None and cell is None:
        raise ValueError(f"{where} has neither a path nor bytes of a picture")
    return ImageRecord(image_id, str(name) if name else image_id, embedded=cell)


def _regions(row: dict[str, Any], image_id: str, where: str) -> Records:
    if "mask_rles" in row:
        masks = _list_in(row, "mask_rles", where)
        for i, (mask, caption) in enumerate(pair_captions(masks, row.get("captions"))):
            yield RegionRecord(image_id, str(i), mask, caption=caption_of(caption, where))
    elif "regions" in row:
        for i, value in enumerate(_list_in(row, "regions", where)):
            place = f"{where} regions[{i}]"
            yield _region(object_at(value, place), image_id, place)
    else:
        yield _region(row, image_id, where)


def _list_in(row: dict[str, Any], name: str, where: str) -> list[Any]:
    """Tables write a row without regions as an empty list or as null."""
    return [] if row[name] is None else list_at(row[name], f"{where} '{name}'")


def _region(row: dict[str, Any], image_id: str, where: str) -> RegionRecord:
    category, prompt = (text(str(row[name]), where) if row.get(name) is not None else None for name in SAID_OF_REGIONS)
    mask = {"size": row.get("rle_size"), "counts": row.get("rle_counts")}
    return RegionRecord(image_id, id_at(row, "region_id", where), mask, category=category, prompt=prompt)


def _footer(file: BinaryIO) -> bytes:
    """The last bytes of the file: its schema, and sizes, places and statistics of all that is in it."""
    file.seek(-8, 2)
    length = int.from_bytes(file.read(4), "little")
    file.seek(-8 - length, 2)
    return file.read(length)
