"""Incremental runs: which images of an input an earlier run has done already.

Only the Parquet files of the earlier run are read, and the pictures of the input. A picture goes by its name and the
hash of its file, or by the hash alone; a region by that of its picture, its mask and its prompt. An image is done if
every one of its regions has a row that is no error: it is new when its name, its picture, a mask or a prompt has
changed, and when it has more regions.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pdlm_cli.errors import ConfigError, InputError, RegionError
from pdlm_cli.manifest import Manifest
from pdlm_cli.preparation import run_ahead
from pdlm_cli.progress import watched
from pdlm_cli.regions import ImageEntry, Region, mask_file, mask_sha256
from pdlm_cli.sources import MaskReader, Sources

Key = TypeVar("Key")
By = Literal["name", "content"]

COLUMNS = ["image_id", "image_path", "image_sha256", "mask_sha256", "status", "mask_area_px"]
PROMPT = "prompt"  # not in version 2 of the table, whose rows count as without one
RANKS = ("ok", "skipped", "error")  # of several rows of a region the first of these counts
READERS = 8  # threads that hash pictures: at an address, each waits for its own

TABLE = """
CREATE TABLE rows (picture BLOB, region BLOB, rank INTEGER, area INTEGER, PRIMARY KEY (picture, region)) WITHOUT ROWID
"""
INSERT = """
INSERT INTO rows VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET rank = MIN(rank, excluded.rank), area = COALESCE(area, excluded.area)
"""


@dataclass(frozen=True)
class Hashes:
    """What an image is now, in hex. picture: of its file, None if it cannot be read. masks: of each region."""

    picture: str | None
    masks: tuple[str, ...]


def not_done(
    manifest: Manifest, sources: Sources, runs: Sequence[Path], by: By, *, min_area: int, skip_crowd: bool
) -> Manifest:
    """The manifest less what these runs have done. min_area, skip_crowd: what is skipped now, see Preparation.

    Raises ConfigError for a folder that holds no run.
    """
    with closing(EarlierRows(runs, by)) as earlier:
        images = hashed(manifest.entries_with_places(), manifest.images, sources)
        done = [
            place
            for place, entry, hashes in images
            if earlier.have_done(entry, hashes, min_area=min_area, skip_crowd=skip_crowd)
        ]
    return manifest.without(done)


def hashed(
    images: Iterable[tuple[Key, ImageEntry]], count: int, sources: Sources
) -> Iterator[tuple[Key, ImageEntry, Hashes]]:
    """Each of `count` images, with a key that is passed on, and its hashes; read in threads."""

    def read(image: tuple[Key, ImageEntry]) -> tuple[Key, ImageEntry, Hashes]:
        key, entry = image
        try:
            picture = sources.sha256(entry)
        except RegionError:
            return key, entry, Hashes(None, ())
        masks = MaskReader(sources, entry)
        return key, entry, Hashes(picture, tuple(masks.sha256(region) for region in entry.regions))

    with watched(run_ahead(images, read, READERS), count, doing="comparing", unit="pictures") as told:
        yield from told


class EarlierRows:
    """The rows of earlier runs. Raises ConfigError for what is no run, InputError for what cannot be read."""

    def __init__(self, runs: Sequence[Path], by: By) -> None:
        """by: whether a picture of the same content and another name is another."""
        self._by = by
        self._database = sqlite3.connect("", isolation_level=None)  # on disk, and gone with the process
        self._database.execute(TABLE)
        for run in runs:
            parts = sorted((run / "data").glob("part-*.parquet"))
            if not parts:
                raise ConfigError(f"--since {run}: expected the output of an earlier run, found no {run}/data/part-*")
            for part in parts:
                self._database.execute("BEGIN")
                self._database.executemany(INSERT, (self._found(row) for row in _rows(part)))
                self._database.execute("COMMIT")

    def close(self) -> None:
        self._database.close()

    def have_done(self, entry: ImageEntry, now: Hashes, *, min_area: int, skip_crowd: bool) -> bool:
        """Whether every region of an image has a row that is no error, and was skipped only if it would be again."""
        if entry.refused is not None or now.picture is None:
            return False
        picture = self._picture(now.picture, entry.image_id, entry.file_name)

        def done(region: Region, mask: str) -> bool:
            # Version 2 of the table told masks in mask pictures by their place.
            place = mask if mask_file(region) is None else mask_sha256(region)
            masks = [_digest(told, region.prompt or None) for told in (mask, place)]
            query = "SELECT rank, area FROM rows WHERE picture = ? AND region IN (?, ?) ORDER BY rank LIMIT 1"
            found = self._database.execute(query, (picture, *masks)).fetchone()
            if found is None or RANKS[found[0]] == "error":
                return False
            return RANKS[found[0]] == "ok" or (skip_crowd and region.crowd) or bool(found[1] < min_area)

        return all(map(done, entry.regions, now.masks))

    def have_picture(self, entry: ImageEntry, now: Hashes) -> bool:
        """Whether a picture has regions, and each of them a row that is no error, whatever the regions are."""
        if now.picture is None:
            return False
        picture = self._picture(now.picture, entry.image_id, entry.file_name)
        worst = self._database.execute("SELECT MAX(rank) FROM rows WHERE picture = ?", (picture,)).fetchone()[0]
        return worst is not None and RANKS[worst] != "error"

    def _found(self, row: Mapping[str, Any]) -> tuple[bytes, bytes, int, int | None]:
        picture = self._picture(row["image_sha256"], row["image_id"], row["image_path"])
        region = _digest(row["mask_sha256"], row.get(PROMPT))
        return picture, region, RANKS.index(row["status"]), row["mask_area_px"]

    def _picture(self, sha256: str, image_id: str, path: str) -> bytes:
        return _digest(sha256, image_id, path) if self._by == "name" else _digest(sha256)


def _digest(*texts: str | None) -> bytes:
    """Short, since there may be millions of rows."""
    return hashlib.sha256(json.dumps(texts).encode()).digest()[:16]


def _rows(part: Path) -> Iterator[dict[str, Any]]:
    """Each row whose picture could be read."""
    try:
        with pq.ParquetFile(part) as file:
            names = file.schema_arrow.names
            if missing := set(COLUMNS) - set(names):
                raise InputError(f"{part} has no {', '.join(sorted(missing))}: it is of another version of pdlm")
            for batch in file.iter_batches(columns=[*COLUMNS, *({PROMPT} & set(names))]):
                yield from (row for row in batch.to_pylist() if row["image_sha256"] is not None)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {part} of an earlier run: {error}") from error
