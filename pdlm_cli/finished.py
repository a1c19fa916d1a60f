"""A finished run read again, part by part: its rows, and the images of its input beside them."""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.manifest import Manifest, shard_of
from pdlm_cli.markers import part_path, verified_markers
from pdlm_cli.moved import UNMOVED, Moved
from pdlm_cli.parquet import read_image_ids, read_rows
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

    def image_ids(self) -> Iterator[str]:
        """Of all images, in input order."""
        parts = (part_path(self.path, index) for index in sorted(self.markers))
        return (image_id for image_id, _ in groupby(chain.from_iterable(map(read_image_ids, parts))))

    def input(self, moved: Moved = UNMOVED) -> tuple[Manifest, Sources]:
        """The input of the run, and where its pictures are. moved: where they lie now.

        Raises InputError if it is not there, or not the same any more.
        """
        return input_of([self], moved)

    def images(self, manifest: Manifest) -> Iterator[tuple[ImageEntry, list[Row]]]:
        """Each image of the input with its rows, a row a region, in the same order."""
        rows = self.rows()
        for entry in manifest:
            yield entry, take_rows(rows, entry, self.path)


def input_of(runs: Sequence[FinishedRun], moved: Moved) -> tuple[Manifest, Sources]:
    """The input of a run that is given as itself, or as all its shards in order. Raises InputError."""
    first, plan = runs[0], runs[0].facts["plan"]
    manifest, sources = open_again(first.path, first.facts["job"], moved)
    if manifest.sha256 != first.facts["hashes"]["input"]:
        raise InputError(
            f"{manifest.path} is not what {first.path} was made from, or it has changed; --input names another"
        )
    if plan["since"] is not None:
        # By its rows: the runs of --since may be gone by now, or have more rows.
        return manifest.without(list(_places_without_rows(manifest, runs))), sources
    return planned(manifest, plan if len(runs) == 1 else {**plan, "shard": None}), sources


def _places_without_rows(manifest: Manifest, runs: Sequence[FinishedRun]) -> Iterator[int]:
    """Of the images that none of the runs has; each has those of one shard, in input order."""
    ids = [run.image_ids() for run in runs]
    following = [next(own, None) for own in ids]
    for place, image_id in manifest.ids_with_places():
        shard = shard_of(image_id, len(runs))
        if image_id == following[shard]:
            following[shard] = next(ids[shard], None)
        else:
            yield place


def take_rows(rows: Iterator[Row], entry: ImageEntry, path: Path) -> list[Row]:
    """The next rows. path: of the run they come from. Raises InputError unless they are those of the image."""
    taken = list(islice(rows, len(entry.regions)))
    if [row.region_key for row in taken] != [region_key(entry, region) for region in entry.regions]:
        raise InputError(f"the rows of {path} are not those of image {entry.image_id}: its table was changed")
    return taken
