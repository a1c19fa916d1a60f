"""Paths on the command line that can only be of this machine: what is written, and runs that are read again."""

from pathlib import Path
from typing import Any

import click


class LocalPath(click.Path):
    """A pathlib.Path. Addresses are refused: `Path` would make a folder `s3:` of one, and a run would go there."""

    def __init__(self, **how: Any) -> None:
        """how: as for click.Path."""
        super().__init__(path_type=Path, **how)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "://" in str(value):
            self.fail(f"{value} is an address; expected a path on this machine", param, ctx)
        return super().convert(value, param, ctx)


class NamedFile(LocalPath):
    """A drawing to write, of a kind that its name tells. What is no name of such a kind is refused before the work that
    the drawing is to show, and so is a slip that would replace another file than a drawing of pdlm."""

    def __init__(self, *endings: str) -> None:
        """endings: those of its kinds."""
        super().__init__(dir_okay=False)
        self.endings = endings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if path.suffix.lower() not in self.endings:
            self.fail(f"{path} does not end in {' or '.join(self.endings[:2])}", param, ctx)
        from pdlm_cli.drawings import check_replaceable  # which needs Pillow: only where something is drawn
        from pdlm_cli.errors import ConfigError

        try:
            check_replaceable(path)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        return path


class PictureFile(NamedFile):
    """A picture to write, .png or .jpg."""

    def __init__(self) -> None:
        super().__init__(".png", ".jpg", ".jpeg")
