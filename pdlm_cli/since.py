"""Incremental runs: which images of an input an earlier run has done already.

Only the Parquet files of the earlier run are read. An image is done if every one of its regions has a row that is no
error; regions are told by their keys, so that an image counts as new when its name, its id or a mask has changed, or
when it has more regions. Where the rows have the hash of the picture, image_sha256, that must be the same too.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pdlm_cli.errors import ConfigError, InputError, RegionError
from pdlm_cli.manifest import Manifest
from pdlm_cli.regions import ImageEntry, region_key
from pdlm_cli.sources import Sources

CONTENT = "image_sha256"


def not_done(manifest: Manifest, sources: Sources, runs: Sequence[Path]) -> Manifest:
    """The manifest less what these runs have done. Raises ConfigError for a folder that holds no run."""
    earlier = _EarlierRows(runs)
    done = [place for place, entry in manifest.entries_with_places() if earlier.has_done(entry, sources)]
    earlier.close()
    return manifest.without(done)


class _EarlierRows:
    def __init__(self, runs: Sequence[Path]) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # on disk, and gone with the process
        self._database.execute("CREATE TABLE done (key TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID")
        for run in runs:
            parts = sorted((run / "data").glob("part-*.parquet"))
            if not parts:
                raise ConfigError(f"--since {run}: expected the output of an earlier run, found no {run}/data/part-*")
            for part in parts:
                self._database.execute("BEGIN")
                self._database.executemany("INSERT OR REPLACE INTO done VALUES (?, ?)", _rows(part))
                self._database.execute("COMMIT")

    def close(self) -> None:
        self._database.close()

    def has_done(self, entry: ImageEntry, sources: Sources) -> bool:
        if entry.refused is not None:
            return False
        contents = set()
        for region in entry.regions:
            query = "SELECT content FROM done WHERE key = ?"
            found = self._database.execute(query, (region_key(entry, region),)).fetchone()
            if found is None:
                return False
            contents.add(found[0])
        return contents == {None} or contents == {_content(entry, sources)}


def _rows(part: Path) -> Iterator[tuple[str, str | None]]:
    """Key, and hash of the picture if the table has it, of each row that is no error."""
    try:
        with pq.ParquetFile(part) as file:
            names = file.schema_arrow.names
            columns = ["region_key", "status", *([CONTENT] if CONTENT in names else [])]
            for batch in file.iter_batches(columns=columns):
                for row in batch.to_pylist():
                    if row["status"] != "error":
                        yield row["region_key"], row.get(CONTENT)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(f"cannot read {part} of an earlier run: {error}") from error


def _content(entry: ImageEntry, sources: Sources) -> str | None:
    try:
        with sources.open(entry) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except RegionError:
        return None
