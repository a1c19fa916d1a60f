"""What an export is made from: a finished run, and its input where masks are wanted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pdlm_cli.finished import FinishedRun
from pdlm_cli.manifest import Manifest
from pdlm_cli.regions import ImageEntry
from pdlm_cli.rows import Row


@dataclass(frozen=True)
class ExportSource:
    """pictures: root of the file names. input: where the input lies, None for where the run had it.

    The table holds no masks: they are those of the input, row for row.
    """

    run: FinishedRun
    pictures: Path
    input: Path | None

    def rows(self) -> Iterator[Row]:
        return self.run.rows()

    def images(self) -> Iterator[tuple[ImageEntry, list[Row]]]:
        """Each image of the input with its rows. Raises InputError if the input is not there, or not the same."""
        return self.run.images(self.manifest())

    def manifest(self) -> Manifest:
        return self.run.manifest(self.input)
