"""`pdlm propose`: pictures without masks to a folder of Parquet manifests that have regions for them.

A file holds the regions of so many pictures, by name, and says what they were made from: a run that was stopped leaves
whole files, and goes on behind them. A picture that cannot be read has one region without a mask, so that captioning it
tells of it.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from pdlm_cli.atomic import open_atomic, remove_files
from pdlm_cli.checkpoints import checkpoint_sha256
from pdlm_cli.conversions.manifest import IMAGE_ID, REGION_FIELDS
from pdlm_cli.device import free_memory
from pdlm_cli.errors import ConfigError, InputError, RegionError
from pdlm_cli.images import Exif
from pdlm_cli.lock import LockedFolder
from pdlm_cli.logs import log
from pdlm_cli.manifest import shard_of
from pdlm_cli.masks import encode, pack
from pdlm_cli.preparation import run_ahead
from pdlm_cli.progress import Progress, open_progress
from pdlm_cli.readers import folder
from pdlm_cli.regions import ImageEntry
from pdlm_cli.run_facts import sha256
from pdlm_cli.run_paths import RECORDS
from pdlm_cli.since import By, EarlierRows, hashed
from pdlm_cli.sources import Sources
from pdlm_cli.stores import open_store

if TYPE_CHECKING:
    from pdlm_cli.segmenter import Segmenter

PICTURES_A_FILE = 64
LOADERS = 2  # threads that decode pictures ahead of the model
NO_MASK: dict[str, Any] = dict.fromkeys(field.name for field in REGION_FIELDS)

SCHEMA = pa.schema(
    [pa.field("image_path", pa.string()), IMAGE_ID, pa.field("regions", pa.list_(pa.struct(REGION_FIELDS)))]
)
MADE_FROM, COUNTS = b"pdlm.made_from", b"pdlm.counts"


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures to look at: all of a folder, an archive or an address, masks left out.

    since: outputs of earlier runs; pictures that they have captioned are left out. since_by: what tells a picture, see
    EarlierRows. limit: the first so many. shard: which of how many, from 0. exif, max_pixels: see load_image.
    """

    input: str
    since: Sequence[Path] = ()
    since_by: By = "name"
    limit: int | None = None
    shard: tuple[int, int] | None = None
    exif: Exif
    max_pixels: int
    allow_outside: bool

    def sources(self) -> Sources:
        try:
            store = open_store(self.input, allow_outside=self.allow_outside, option="--input")
        except InputError as error:
            where = "a folder, an archive or an address"
            raise InputError(f"regions are proposed for all pictures of {where}: {error}") from error
        return Sources(store, store, exif=self.exif, max_pixels=self.max_pixels)

    def chosen(self, sources: Sources) -> dict[str, str | None]:
        """Names in order, each with the hash of its file, or None where it was not read for `since` or cannot be.

        Raises InputError if there are no pictures at all.
        """
        pictures: dict[str, str | None] = dict.fromkeys(folder.pictures(sources.images))
        if not pictures:
            raise InputError(f"{self.input} has no pictures")
        if self.since:
            pictures = _not_done(pictures, sources, self.since, self.since_by)
        names = list(pictures)[: self.limit]
        if self.shard is not None:
            names = [name for name in names if shard_of(name, self.shard[1]) == self.shard[0]]
        return {name: pictures[name] for name in names}


@dataclass
class Proposed:
    """What a folder holds. unreadable: pictures that have no regions because of that."""

    pictures: int = 0
    regions: int = 0
    unreadable: int = 0

    @property
    def exit_code(self) -> int:
        return 3 if self.unreadable else 0

    def to_json(self) -> str:
        return json.dumps(vars(self))


def propose(
    pictures: Pictures,
    out: Path,
    model: str,
    device: str,
    grid: Mapping[str, Any],
    *,
    overwrite: bool,
    log_format: str,
    console: Console,
) -> Proposed:
    """Write the regions of all pictures into `out`, or those that it lacks.

    model, device, grid: see Segmenter. Raises ConfigError if `out` holds regions of something else, InputError,
    OutputError, DeviceError, LockedError.
    """
    sources = pictures.sources()
    chosen = pictures.chosen(sources)
    names = list(chosen)
    facts = {**grid, "model": checkpoint_sha256(model), "exif": pictures.exif, "max_pixels": pictures.max_pixels}
    pieces = [names[start : start + PICTURES_A_FILE] for start in range(0, max(1, len(names)), PICTURES_A_FILE)]

    def made_from(piece: Sequence[str]) -> str:
        read = {"content": [chosen[name] for name in piece]} if pictures.since else {}
        return sha256({**facts, "pictures": piece, **read})

    files = {out / f"regions-{number:05d}.parquet": (piece, made_from(piece)) for number, piece in enumerate(pieces)}
    with LockedFolder(out, RECORDS, option="--output"):
        done = _done(out, {file: made_from for file, (_, made_from) in files.items()}, overwrite=overwrite)
        there = sum(len(files[file][0]) for file in done)
        missing = {file: wanted for file, wanted in files.items() if file not in done}
        if missing:
            with open_progress(
                len(names), log_format, console, doing="proposing regions", unit="pictures", done=there
            ) as progress:
                _make(missing, sources, model, device, grid, progress)
            free_memory()  # captioning needs it
    proposed = _counted(files)
    log.info("%s: %d regions of %d pictures", out, proposed.regions, proposed.pictures)
    return proposed


def _make(
    files: Mapping[Path, tuple[Sequence[str], str]],
    sources: Sources,
    model: str,
    device: str,
    grid: Mapping[str, Any],
    progress: Progress,
) -> None:
    """files: with the pictures of each, and what it is made from."""
    from pdlm_cli.segmenter import Segmenter

    log.info("loading the segmenter")
    segmenter = Segmenter(model, device, grid)
    for file, (names, made_from) in files.items():
        rows = []
        for row in _rows(names, sources, segmenter):
            rows.append(row)
            progress.advance(1)
        _write(file, rows, made_from)


def _not_done(names: Collection[str], sources: Sources, since: Sequence[Path], by: By) -> dict[str, str | None]:
    with closing(EarlierRows(since, by)) as earlier:
        pictures = hashed(((name, _entry(name)) for name in names), len(names), sources)
        return {name: now.picture for name, entry, now in pictures if not earlier.have_picture(entry, now)}


def _done(out: Path, wanted: Mapping[Path, str], *, overwrite: bool) -> set[Path]:
    """The files that are there already. Raises ConfigError for any that are not wanted, or removes them all."""
    if overwrite:
        remove_files(out, "regions-*.parquet")
        return set()
    there = sorted(out.glob("regions-*.parquet"))
    for file in there:
        if wanted.get(file) != _metadata(file)[MADE_FROM].decode():
            raise ConfigError(
                f"{file} holds regions of other pictures, or by another model or other settings; pass --overwrite to "
                "replace them all, or choose another --output"
            )
    return set(there)


def _rows(names: Sequence[str], sources: Sources, segmenter: "Segmenter") -> Iterator[dict[str, Any]]:
    def load(name: str) -> tuple[str, Image.Image | RegionError]:
        try:
            return name, sources.picture(_entry(name))
        except RegionError as error:
            return name, error

    with closing(run_ahead(names, load, LOADERS)) as loaded:
        for name, picture in loaded:
            if isinstance(picture, RegionError):
                log.warning("%s: %s: %s", name, picture.code, picture)
                regions = [{**NO_MASK, "region_id": "picture"}]
            else:
                regions = [_region(i, mask) for i, mask in enumerate(segmenter.masks(picture))]
            yield {"image_path": name, "image_id": name, "regions": regions}


def _region(number: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """number: its place in the picture, from 0, which is its id."""
    rle = encode(mask)
    columns = {"rle_counts": rle["counts"], "rle_size": rle["size"], "bbox_xywh": pack(mask).bbox_xywh}
    return {**NO_MASK, "region_id": str(number), **columns}


def _write(file: Path, rows: Sequence[Mapping[str, Any]], made_from: str) -> None:
    regions = [region for row in rows for region in row["regions"]]
    unreadable = sum(region["rle_counts"] is None for region in regions)
    counts = Proposed(len(rows), len(regions) - unreadable, unreadable)
    schema = SCHEMA.with_metadata({MADE_FROM: made_from, COUNTS: counts.to_json()})
    with open_atomic(file) as opened:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), opened, compression="zstd")


def _counted(files: Mapping[Path, Any]) -> Proposed:
    total = Proposed()
    for file in files:
        for name, count in json.loads(_metadata(file)[COUNTS]).items():
            setattr(total, name, getattr(total, name) + count)
    return total


def _metadata(file: Path) -> Mapping[bytes, bytes]:
    """Of a file of ours. Raises ConfigError for another."""
    try:
        found = pq.read_schema(file).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file} cannot be read: {error}; pass --overwrite to replace it") from error
    if not {MADE_FROM, COUNTS} <= found.keys():
        raise ConfigError(f"{file} holds something else than proposed regions; choose another --output")
    metadata: Mapping[bytes, bytes] = found
    return metadata


def _entry(name: str) -> ImageEntry:
    return ImageEntry(name, name, None, None, ())
