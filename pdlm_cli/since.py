"""Incremental runs: which images of an input an earlier run has done already, whatever they were called then.

Only the Parquet files of the earlier run are read, and the pictures of the input. A picture goes by the hash of its
file, a region by that and by the mask as the input has it. An image is done if every one of its regions has a row that
is no error: it is new when its picture or a mask has changed, or when it has more regions, and not when it was renamed.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pdlm_cli.errors import ConfigError, InputError, RegionError
from pdlm_cli.manifest import Manifest
from pdlm_cli.preparation import run_ahead
from pdlm_cli.regions import ImageEntry, mask_sha256
from pdlm_cli.sources import Sources

COLUMNS = ["image_sha256", "mask_sha256", "status"]
READERS = 8  # threads that hash pictures: at an address, each waits for its own


def not_done(manifest: Manifest, sources: Sources, runs: Sequence[Path]) -> Manifest:
    """The manifest less what these runs have done. Raises ConfigError for a folder that holds no run."""

    def hashed(image: tuple[int, ImageEntry]) -> tuple[int, ImageEntry, str | None]:
        place, entry = image
        return place, entry, picture_sha256(entry, sources)

    with closing(EarlierRows(runs)) as earlier:
        images = run_ahead(manifest.entries_with_places(), hashed, READERS)
        done = [place for place, entry, picture in images if earlier.have_done(entry, picture)]
    return manifest.without(done)


def picture_sha256(entry: ImageEntry, sources: Sources) -> str | None:
    """None for a picture that cannot be read."""
    try:
        return sources.sha256(entry)
    except RegionError:
        return None


class EarlierRows:
    """The rows of earlier runs, by the content of pictures and masks. Raises ConfigError for what is no run."""

    def __init__(self, runs: Sequence[Path]) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # on disk, and gone with the process
        self._database.execute(
            "CREATE TABLE rows (picture TEXT, mask TEXT, ok INTEGER, PRIMARY KEY (picture, mask, ok)) WITHOUT ROWID"
        )
        for run in runs:
            parts = sorted((run / "data").glob("part-*.parquet"))
            if not parts:
                raise ConfigError(f"--since {run}: expected the output of an earlier run, found no {run}/data/part-*")
            for part in parts:
                self._database.execute("BEGIN")
                self._database.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?, ?)", _rows(part))
                self._database.execute("COMMIT")

    def close(self) -> None:
        self._database.close()

    def have_done(self, entry: ImageEntry, picture: str | None) -> bool:
        """Whether every region of an image has a row that is no error. picture: hash of its file."""
        query = "SELECT 1 FROM rows WHERE picture = ? AND mask = ? AND ok"
        return entry.refused is None and all(
            self._database.execute(query, (picture, mask_sha256(region))).fetchone() for region in entry.regions
        )

    def have_picture(self, picture: str | None) -> bool:
        """Whether a picture has regions, and each of them has a row that is no error."""
        query = "SELECT MIN(best) FROM (SELECT MAX(ok) AS best FROM rows WHERE picture = ? GROUP BY mask)"
        return self._database.execute(query, (picture,)).fetchone()[0] == 1


def _rows(part: Path) -> Iterator[tuple[str, str, bool]]:
    """Hashes of picture and mask, and whether it is no error, of each row whose picture could be read."""
    try:
        with pq.ParquetFile(part) as file:
            if missing := set(COLUMNS) - set(file.schema_arrow.names):
                raise InputError(f"{part} has no {', '.join(sorted(missing))}: it is of another version of pdlm")
            for batch in file.iter_batches(columns=COLUMNS):
                for row in batch.to_pylist():
                    if row["image_sha256"] is not None:
                        yield row["image_sha256"], row["mask_sha256"], row["status"] != "error"
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {part} of an earlier run: {error}") from error
