"""A finished run read again, part by part: its rows, and the images of its input beside them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.manifest import Manifest
from pdlm_cli.markers import part_path, verified_markers
from pdlm_cli.moved import UNMOVED, Moved
from pdlm_cli.parquet import read_rows
from pdlm_cli.regions import ImageEntry, region_key
from pdlm_cli.rows import Row
from pdlm_cli.run_dir import read_facts
from pdlm_cli.run_facts import planned
from pdlm_cli.run_input import open_again
from pdlm_cli.sources import Sources


class FinishedRun:
    """A run directory whose parts are all there and as they were written. facts: its run.json."""

    def __init__(self, path: Path) -> None:
        """Read what is known of the run. Raises ConfigError if it is none or not finished, InputError if damaged."""
        self.path = path
        self.facts: dict[str, Any] = read_facts(path)
        self.markers, wrong = verified_markers(path)
        if wrong:
            raise InputError(f"{'; '.join(wrong[:10])}. Run the command of {path} again: it makes up for it")
        there, wanted = sum(marker.rows for marker in self.markers.values()), self.facts["input"]["regions"]
        if there < wanted or not self.markers or not all(marker.complete for marker in self.markers.values()):
            raise ConfigError(f"{path} holds {there} of {wanted} rows: run its command again, which goes on")

    def rows(self) -> Iterator[Row]:
        """All rows in input order; one part is in memory at a time."""
        for index in sorted(self.markers):
            yield from read_rows(part_path(self.path, index))

    def input(self, moved: Moved = UNMOVED, *, sharded: bool = True) -> tuple[Manifest, Sources]:
        """The input of the run, and where its pictures are. moved: where they lie now. sharded: only the run's shard.

        Raises InputError if it is not there, or not the same any more.
        """
        manifest, sources = open_again(self.path, self.facts["job"], moved)
        if manifest.sha256 != self.facts["hashes"]["input"]:
            raise InputError(
                f"{manifest.path} is not what {self.path} was made from, or it has changed; --input names another"
            )
        plan = self.facts["plan"]
        return planned(manifest, plan if sharded else {**plan, "shard": None}), sources

    def images(self, manifest: Manifest) -> Iterator[tuple[ImageEntry, list[Row]]]:
        """Each image of the input with its rows, a row a region, in the same order."""
        rows = self.rows()
        for entry in manifest:
            yield entry, take_rows(rows, entry, self.path)


def take_rows(rows: Iterator[Row], entry: ImageEntry, path: Path) -> list[Row]:
    """The next rows. path: of the run they come from. Raises InputError unless they are those of the image."""
    taken = list(islice(rows, len(entry.regions)))
    if [row.region_key for row in taken] != [region_key(entry, region) for region in entry.regions]:
        raise InputError(f"the rows of {path} are not those of image {entry.image_id}: its table was changed")
    return taken
