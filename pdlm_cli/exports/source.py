"""What an export is made from: a finished run, and its input where masks are wanted."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pdlm_cli.finished import FinishedRun
from pdlm_cli.manifest import Manifest
from pdlm_cli.moved import UNMOVED, Moved
from pdlm_cli.progress import watched
from pdlm_cli.regions import ImageEntry
from pdlm_cli.rows import Row
from pdlm_cli.sources import Sources


@dataclass(frozen=True)
class ExportSource:
    """moved: where the input lies now.

    The table holds no masks: they are those of the input, row for row.
    """

    run: FinishedRun
    moved: Moved = UNMOVED

    def rows(self) -> AbstractContextManager[Iterator[Row]]:
        """All rows, told of as they are done with."""
        return watched(self.run.rows(), self._regions, doing="exporting", unit="rows")

    def images(self, manifest: Manifest) -> AbstractContextManager[Iterator[tuple[ImageEntry, list[Row]]]]:
        """Each image with its rows, told of as they are done with."""
        images = self.run.images(manifest)
        return watched(images, self._regions, doing="exporting", unit="rows", weight=lambda image: len(image[1]))

    def open_input(self) -> tuple[Manifest, Sources]:
        """Raises InputError if the input is not there, or not the same."""
        return self.run.input(self.moved)

    @property
    def _regions(self) -> int:
        regions: int = self.run.facts["input"]["regions"]
        return regions
