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


class PreviewFile(LocalPath):
    """A picture to write, of a kind that its name tells: refused before the work that it is to show."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            self.fail(f"{path} ends neither in .png nor in .jpg", param, ctx)
        return path
