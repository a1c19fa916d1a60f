"""An input of any format and size as a stream of images with regions. Formats are told by structure, not by name."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from pdlm_cli.archives import is_archive
from pdlm_cli.errors import InputError, PdlmError
from pdlm_cli.images import unread_format
from pdlm_cli.inputs import MAX_REGIONS
from pdlm_cli.json_stream import JsonStream
from pdlm_cli.logs import log
from pdlm_cli.progress import watched
from pdlm_cli.readers import (
    coco,
    coco_boxes,
    folder,
    json_files,
    labelme,
    lvis,
    panoptic,
    paradlc,
    parquet,
    plain,
    sa1b,
    training,
)
from pdlm_cli.readers.json_shape import remedy, shape_of
from pdlm_cli.readers.records import Records
from pdlm_cli.region_index import RegionIds, RegionIndex, image_hash
from pdlm_cli.regions import ImageEntry
from pdlm_cli.run_paths import is_run
from pdlm_cli.stores import Store, is_address, open_store

# The first that recognises a JSON file reads it: what asks for more comes before what asks for less.
JSON_READERS: tuple[Any, ...] = (panoptic, lvis, coco, coco_boxes, sa1b, paradlc, plain, training, labelme)
INPUTS = "an annotation file (JSON or Parquet), or a folder or an archive of pictures with masks"
PARQUET_MAGIC = b"PAR1"
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd"}  # how they begin
PICTURE_BEGINS = re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8|BM|II\*\0|MM\0\*|RIFF....WEBP", re.DOTALL)


@dataclass(frozen=True)
class Manifest:
    """The images to caption, in input order; images without regions are left out.

    path: the input, a file name, folder or address. sha256: of what it says, to tell one input from another; of the
    whole file for JSON. images_in, masks_in: where pictures and mask pictures are if nobody says. selection: which of
    its images are meant, a condition of region_index.
    """

    path: str
    format: str
    sha256: str
    images_in: str
    masks_in: str
    max_regions: int
    index: RegionIndex
    selection: str = "regions > 0"

    def __iter__(self) -> Iterator[ImageEntry]:
        return (entry for _, entry in self.index.images(self.selection, self.max_regions))

    def watched(self, doing: str) -> AbstractContextManager[Iterator[ImageEntry]]:
        """The images, told of by their regions as they are done with. doing: a word, such as merging."""
        return watched(self, self.regions, doing=doing, unit="regions", weight=lambda entry: len(entry.regions))

    @property
    def images(self) -> int:
        return self.index.count(self.selection)[0]

    @property
    def regions(self) -> int:
        return self.index.count(self.selection)[1]

    def limited(self, images: int) -> "Manifest":
        """The first `images` images only. Whole images, so that their rows are those of the full run."""
        end = self.index.place_of(self.selection, images)
        return self if end is None else self._where(f"place < {end}")

    def sharded(self, index: int, count: int) -> "Manifest":
        """Shard `index` of `count`, from 0: an image belongs to one by its id alone, on every machine."""
        assert 0 <= index < count
        return self._where(f"hash % {count} = {index}")

    def without(self, places: Iterable[int]) -> "Manifest":
        """Less the images at these places (see ids_with_places); may be done once."""
        self.index.leave_out(places)
        return self._where("place NOT IN (SELECT place FROM left_out)")

    @property
    def left_out(self) -> str:
        """Tells one set of images that were left out by `without` from another."""
        return self.index.left_out()

    @property
    def images_left_out(self) -> int:
        """How many were left out by `without`."""
        return self.index.count("place IN (SELECT place FROM left_out)")[0]

    @property
    def images_without_regions(self) -> int:
        """Of the whole input: they are in no selection."""
        return self.index.count("regions = 0")[0]

    @property
    def holds_pictures(self) -> bool:
        """Whether the input has pictures in it, rather than names of them."""
        return self.index.any_image("embedded IS NOT NULL")

    @property
    def categories(self) -> list[tuple[str, str]]:
        """Id and name of each that the input lists; other formats name them region by region."""
        return self.index.categories()

    @property
    def region_ids_are_unique(self) -> bool:
        """In the whole input, not only within each image."""
        return self.index.region_ids_are_unique()

    def ids_with_places(self) -> Iterator[tuple[int, str]]:
        """The place and the id of each image, without its regions."""
        return self.index.image_ids(self.selection)

    def entries_with_places(self) -> Iterator[tuple[int, ImageEntry]]:
        return self.index.images(self.selection, self.max_regions)

    def _where(self, condition: str) -> "Manifest":
        return replace(self, selection=f"{self.selection} AND {condition}")


def shard_of(image_id: str, count: int) -> int:
    """Which of `count` shards, from 0, an image belongs to."""
    return image_hash(image_id) % count


def open_manifest(path: Path | str, *, format: str = "auto", max_regions: int = MAX_REGIONS) -> Manifest:
    """Read an input of one of inputs.FORMATS into an index.

    max_regions: of an image; those of one with more are refused, one by one. Raises InputError naming the input, what
    was expected and what was found; OutputError if the disk has no room for the index.
    """
    location, index = str(path), RegionIndex()
    try:
        found, sha256 = _read_into(index, location, format)
    except PdlmError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    images_in = location if _is_container(location) else folder_of(location)
    masks_in = _panoptic_folder(location, images_in) if found == panoptic.NAME else images_in
    manifest = Manifest(location, found, sha256, images_in, masks_in, max_regions, index)
    log.info("%s is %s: %d images with %d regions", location, found, manifest.images, manifest.regions)
    return manifest


def open_input(location: str) -> BinaryIO:
    """A local file or one at an address. Raises OSError, InputError."""
    if is_address(location):
        from pdlm_cli import remote

        return remote.open_input(location)
    return open(location, "rb")


def folder_of(location: str) -> str:
    """What a file or an address lies in."""
    return location.rpartition("/")[0] if is_address(location) else str(Path(location).parent)


def parquet_files(location: str) -> list[str]:
    """The file, or the Parquet files of a folder, in the order they are read."""
    if not _is_folder(location):
        return [location]
    return [f"{location.rstrip('/')}/{name}" for name in open_store(location).names() if name.endswith(".parquet")]


def _read_into(index: RegionIndex, location: str, format: str) -> tuple[str, str]:
    """Format and sha256 of an input that is now in the index."""
    sha256 = hashlib.sha256()
    if is_run(Path(location)):
        raise ValueError(
            "it is a run of `pdlm caption`; expected the input of one. `pdlm report` shows what a run holds"
        )
    store = open_store(location, option="--input") if _is_container(location) else None
    reader = _file_reader(location, format) if store is None else _container_reader(store, format)
    if reader is parquet:
        if store is not None and not _is_folder(location):
            raise ValueError("Parquet files are not read inside an archive; unpack it")
        files = parquet_files(location)
        with ExitStack() as opened:
            named = ((name.removeprefix(location).lstrip("/"), open_input(name)) for name in files)
            records = parquet.read([(name, opened.enter_context(file)) for name, file in named], sha256)
            _fill(index, records, parquet.REGION_IDS, images_repeat=True)
    elif store is not None:
        take = sha256.update
        records = folder.read(store, take) if reader is folder else json_files.read(store, take, reader)
        _fill(index, records, reader.REGION_IDS)
    else:
        with open_input(location) as file:
            stream = JsonStream(file)
            _fill(index, reader.read(stream.items()), reader.REGION_IDS)
            sha256 = stream.sha256
    return reader.NAME, sha256.hexdigest()


def _fill(index: RegionIndex, records: Records, region_ids: RegionIds, *, images_repeat: bool = False) -> None:
    with watched(records, None, doing="reading the input", unit="records") as read:
        index.fill(read, region_ids, images_repeat=images_repeat)


def _container_reader(store: Store, format: str) -> Any:
    """Reader of a folder or an archive."""
    if format != "auto":
        wanted = [reader for reader in (folder, *json_files.READERS, parquet) if format == reader.NAME]
        if not wanted:
            raise ValueError(f"a folder or an archive cannot be {format}; name a file")
        return wanted[0]
    if any(name.endswith(".parquet") for name in store.names()):
        return parquet
    return json_files.reader_of(store) or folder


def _file_reader(location: str, format: str) -> Any:
    if format == folder.NAME:
        raise ValueError(f"a single file cannot be {format}; expected {folder.EXPECTED}")
    if format != "auto":
        return next(reader for reader in (*JSON_READERS, parquet) if format == reader.NAME)
    with open_input(location) as file:
        beginning = file.read(12)
        if beginning.startswith(PARQUET_MAGIC):
            return parquet
        for magic, packer in COMPRESSED.items():
            if beginning.startswith(magic):
                raise ValueError(f"it is compressed by {packer}; expected an annotation file or a folder: unpack it")
        unread = unread_format(beginning)
        if unread is not None or PICTURE_BEGINS.match(beginning):
            not_read = "" if unread is None else f" in {unread}, which is not read: save it as JPEG or PNG"
            raise ValueError(
                f"it is a picture{not_read}; expected an annotation file, or a folder of pictures with masks. "
                "`pdlm show PICTURE MASKS` captions a single one"
            )
        file.seek(0)
        try:
            shape = shape_of(JsonStream(file).items())
        except ValueError as error:
            if _begins_like_json(beginning):
                raise
            raise ValueError(f"it begins with {beginning!r}; expected {INPUTS}") from error
    for reader in JSON_READERS:
        if reader.recognises(shape):
            return reader
    expected = ", ".join(reader.NAME for reader in JSON_READERS)
    raise ValueError(
        f"{shape.describe()} is no known annotation format; expected one of {expected}: docs/inputs.md shows "
        f"them{remedy(shape)}"
    )


def _begins_like_json(beginning: bytes) -> bool:
    """Whether it is worth telling where a file goes wrong as JSON."""
    text = beginning.decode(json.detect_encoding(beginning), "ignore").lstrip("\ufeff \t\r\n")
    return text[:1] in ("{", "[", "")


def _is_container(location: str) -> bool:
    """Whether a location holds files: a folder, a zip, a tar."""
    return _is_folder(location) or ((is_address(location) or Path(location).is_file()) and is_archive(location))


def _is_folder(location: str) -> bool:
    if is_address(location):
        from pdlm_cli import remote

        return remote.is_folder(location)
    return Path(location).is_dir()


def _panoptic_folder(location: str, otherwise: str) -> str:
    """PNGs of panoptic_x.json lie in the folder panoptic_x beside it."""
    named = location.removesuffix(".json")
    return named if not is_address(location) and Path(named).is_dir() else otherwise
