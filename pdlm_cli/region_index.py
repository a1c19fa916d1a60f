"""Images and regions of an input of any size, in a database on disk that grows with it and memory that does not.

Readers give records in whatever order the file has them. Here regions find their images, repeated ids and
dangling references are noticed, and images come back in input order, from any place on.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from pdlm_cli.errors import ErrorCode, OutputError
from pdlm_cli.readers.records import CategoryRecord, ImageRecord, Record, RegionRecord
from pdlm_cli.regions import Embedded, ImageEntry, ParquetCell, Region

BATCH = 5_000  # records written at once
CACHE_MB = 64  # of the database in memory; a small input never touches the disk
LISTED = 10  # ids in an error message

TABLES = """
CREATE TABLE images (place INTEGER PRIMARY KEY, image_id TEXT, file_name TEXT, width INTEGER, height INTEGER,
                     embedded TEXT, hash INTEGER, regions INTEGER DEFAULT 0);
CREATE TABLE regions (source_index INTEGER PRIMARY KEY, image_id TEXT, region_id TEXT, category TEXT,
                      category_key TEXT, crowd INTEGER, prompt TEXT, mask TEXT, caption TEXT);
CREATE TABLE categories (key TEXT, name TEXT, UNIQUE (key, name));
CREATE TABLE left_out (place INTEGER PRIMARY KEY);
"""
INSERTS: dict[type[Record], str] = {
    ImageRecord: "INSERT INTO images (image_id, file_name, width, height, embedded, hash) VALUES (?, ?, ?, ?, ?, ?)",
    RegionRecord: "INSERT INTO regions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    CategoryRecord: "INSERT OR IGNORE INTO categories VALUES (?, ?)",
}
INDEXES = """
CREATE INDEX image_ids ON images (image_id);
CREATE INDEX regions_of ON regions (image_id, region_id);
"""
COUNT_REGIONS = "UPDATE images SET regions = (SELECT COUNT(*) FROM regions WHERE regions.image_id = images.image_id)"
REPEATED_IMAGES = "SELECT image_id AS id, MIN(place) AS first FROM images GROUP BY image_id HAVING COUNT(*) > 1"
RENAMED_IMAGES = (
    "SELECT image_id AS id, MIN(place) AS first FROM images GROUP BY image_id HAVING COUNT(DISTINCT file_name) > 1"
)
REPEATED_REGIONS = (
    "SELECT region_id AS id, MIN(source_index) AS first FROM regions GROUP BY region_id HAVING COUNT(*) > 1"
)
REPEATED_IN_IMAGE = (
    "SELECT region_id || ' of image ' || image_id AS id, MIN(source_index) AS first "
    "FROM regions GROUP BY image_id, region_id HAVING COUNT(*) > 1"
)
RENAMED_CATEGORIES = "SELECT key AS id, MIN(rowid) AS first FROM categories GROUP BY key HAVING COUNT(*) > 1"
WITHOUT_IMAGE = (
    "SELECT image_id AS id, MIN(source_index) AS first FROM regions "
    "WHERE image_id NOT IN (SELECT image_id FROM images) GROUP BY image_id"
)
REGIONS_OF_IMAGE = """
SELECT region_id, source_index, COALESCE(category, name), crowd, mask, prompt, caption
FROM regions LEFT JOIN categories ON key = category_key WHERE image_id = ? ORDER BY source_index
"""

RegionIds = Literal["file", "image"]  # within which region ids must be unique


class RegionIndex:
    """Everything an input holds. Selections of its images are conditions of sqlite on the table `images`, written in
    our own code: what the input says only ever reaches the database as a parameter."""

    def __init__(self) -> None:
        # Without a name sqlite keeps the file to itself, and it is gone with the process, however that ends.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        with _told_if_full():
            self._database.executescript(f"PRAGMA cache_size = {-1024 * CACHE_MB}; PRAGMA journal_mode = OFF; {TABLES}")

    def __del__(self) -> None:
        self._database.close()

    def fill(self, records: Iterable[Record], region_ids: RegionIds, *, images_repeat: bool) -> None:
        """Take in a whole input.

        images_repeat: an image may be named several times, always with one file name; its first record counts.
        Raises ValueError listing the first ids that are ambiguous or refer to nothing.
        """
        with _told_if_full():
            self._insert(records)
            self._database.executescript(INDEXES)
            if images_repeat:
                self._refuse(RENAMED_IMAGES, "image ids with more than one file", "an image is one file")
                self._database.execute(
                    "DELETE FROM images WHERE place NOT IN (SELECT MIN(place) FROM images GROUP BY image_id)"
                )
            self._refuse(REPEATED_IMAGES, "image ids used more than once", "ids must be unique")
            if region_ids == "file":
                self._refuse(REPEATED_REGIONS, "annotation ids used more than once", "ids must be unique")
            else:
                self._refuse(REPEATED_IN_IMAGE, "region ids used more than once in an image", "ids must be unique")
            self._refuse(RENAMED_CATEGORIES, "category ids with more than one name", "a category has one")
            self._refuse(WITHOUT_IMAGE, "annotations of images that are not in 'images'", "add the images or drop them")
            self._database.execute(COUNT_REGIONS)

    def _insert(self, records: Iterable[Record]) -> None:
        pending: dict[type[Record], list[tuple[Any, ...]]] = {kind: [] for kind in INSERTS}
        regions = 0

        def flush() -> None:
            self._database.execute("BEGIN")
            for kind, rows in pending.items():
                self._database.executemany(INSERTS[kind], rows)
                rows.clear()
            self._database.execute("COMMIT")

        for number, record in enumerate(records, 1):
            if isinstance(record, RegionRecord):
                pending[RegionRecord].append(_region_row(regions, record))
                regions += 1
            elif isinstance(record, ImageRecord):
                pending[ImageRecord].append(_image_row(record))
            else:
                pending[CategoryRecord].append((record.key, record.name))
            if number % BATCH == 0:
                flush()
        flush()

    def _refuse(self, query: str, problem: str, remedy: str) -> None:
        """Raise ValueError if the query finds any id, naming those that come first in the input."""
        count = self._database.execute(f"SELECT COUNT(*) FROM ({query})").fetchone()[0]  # nosec B608
        if count:
            ids = [row[0] for row in self._database.execute(f"{query} ORDER BY first LIMIT {LISTED}")]
            more = f" and {count - LISTED} more" if count > LISTED else ""
            raise ValueError(f"{problem}: {', '.join(ids)}{more}; {remedy}")

    def count(self, selection: str) -> tuple[int, int]:
        """Images and regions of a selection."""
        images, regions = self._database.execute(
            f"SELECT COUNT(*), COALESCE(SUM(regions), 0) FROM images WHERE {selection}"  # nosec B608
        ).fetchone()
        return images, regions

    def place_of(self, selection: str, number: int) -> int | None:
        """Place of the image `number` of a selection, from 0; None beyond its end."""
        found = self._database.execute(
            f"SELECT place FROM images WHERE {selection} ORDER BY place LIMIT 1 OFFSET {number}"  # nosec B608
        ).fetchone()
        return found[0] if found else None

    def any_image(self, selection: str) -> bool:
        query = f"SELECT 1 FROM images WHERE {selection} LIMIT 1"  # nosec B608
        return self._database.execute(query).fetchone() is not None

    def categories(self) -> list[tuple[str, str]]:
        """Id and name of each category that the input lists, in input order."""
        return self._database.execute("SELECT key, name FROM categories ORDER BY rowid").fetchall()

    def region_ids_are_unique(self) -> bool:
        return self._database.execute(f"{REPEATED_REGIONS} LIMIT 1").fetchone() is None

    def left_out(self) -> str:
        """A hash of the places that were left out."""
        digest = hashlib.sha256()
        for row in self._database.execute("SELECT place FROM left_out ORDER BY place"):
            digest.update(b"%d\n" % row)
        return digest.hexdigest()

    def leave_out(self, places: Iterable[int]) -> None:
        """Mark images, for selections on the table `left_out`."""
        with _told_if_full():
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO left_out VALUES (?)", ((place,) for place in places))
            self._database.execute("COMMIT")

    def image_ids(self, selection: str) -> Iterator[tuple[int, str]]:
        """Place and id of each image of a selection, in input order."""
        yield from self._database.execute(
            f"SELECT place, image_id FROM images WHERE {selection} ORDER BY place"  # nosec B608
        )

    def images(self, selection: str, max_regions: int) -> Iterator[tuple[int, ImageEntry]]:
        """Place and entry of each image of a selection, in input order.

        An image of more than max_regions regions comes refused, in pieces of so many, so that none fills the memory.
        """
        columns = "place, image_id, file_name, width, height, embedded, regions"
        for place, image_id, name, width, height, embedded, count in self._database.execute(
            f"SELECT {columns} FROM images WHERE {selection} ORDER BY place"  # nosec B608
        ):
            refused: tuple[ErrorCode, str] | None = None
            if count > max_regions:
                refused = "too_many_regions", f"the image has {count} regions, more than --max-regions {max_regions}"
            rows = self._database.execute(REGIONS_OF_IMAGE, (image_id,))
            while piece := rows.fetchmany(max_regions):
                regions = tuple(_region(row) for row in piece)
                yield place, ImageEntry(image_id, name, width, height, regions, _embedded(embedded), refused)


def image_hash(image_id: str) -> int:
    """The same for an image id on every machine, evenly spread over 0 to 2^60."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") >> 4


def _image_row(record: ImageRecord) -> tuple[Any, ...]:
    embedded = json.dumps(record.embedded) if isinstance(record.embedded, ParquetCell) else record.embedded
    return record.image_id, record.file_name, record.width, record.height, embedded, image_hash(record.image_id)


def _region_row(source_index: int, record: RegionRecord) -> tuple[Any, ...]:
    return (
        source_index,
        record.image_id,
        record.region_id,
        record.category,
        record.category_key,
        record.crowd,
        record.prompt,
        json.dumps(record.mask),
        record.caption,
    )


def _region(row: tuple[Any, ...]) -> Region:
    region_id, source_index, category, crowd, mask, prompt, caption = row
    return Region(region_id, source_index, category, bool(crowd), json.loads(mask), prompt, caption)


def _embedded(stored: str | None) -> Embedded | None:
    return ParquetCell(*json.loads(stored)) if stored is not None and stored.startswith("[") else stored


@contextmanager
def _told_if_full() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(
            f"the index of the input needs room in a temporary folder: {error}; SQLITE_TMPDIR names another one"
        ) from error
