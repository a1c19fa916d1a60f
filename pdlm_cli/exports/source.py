"""What an export is made from: a finished run, and its input where masks are wanted."""

from collections.abc import Iterator
from dataclasses import dataclass

from pdlm_cli.finished import FinishedRun
from pdlm_cli.manifest import Manifest
from pdlm_cli.moved import UNMOVED, Moved
from pdlm_cli.rows import Row
from pdlm_cli.sources import Sources


@dataclass(frozen=True)
class ExportSource:
    """moved: where the input lies now.

    The table holds no masks: they are those of the input, row for row.
    """

    run: FinishedRun
    moved: Moved = UNMOVED

    def rows(self) -> Iterator[Row]:
        return self.run.rows()

    def open_input(self) -> tuple[Manifest, Sources]:
        """Raises InputError if the input is not there, or not the same."""
        return self.run.input(self.moved)
