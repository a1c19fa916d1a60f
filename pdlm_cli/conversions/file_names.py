"""File names below a folder that is being made, from what an input calls things: any text at all."""

from collections.abc import Callable
from itertools import count
from pathlib import PurePosixPath

from pdlm_cli.errors import RegionError
from pdlm_cli.images import ENDINGS
from pdlm_cli.regions import ImageEntry
from pdlm_cli.stores import name_inside

LONGEST = 200  # bytes of a name, which leaves room for an ending; file systems take 255
KEPT = 50  # characters of a name that is longer


class FileNames:
    """Names that were given, so that none is given twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, wanted: str, is_free: Callable[[str], bool] = lambda name: True) -> str:
        """A name like the one wanted. is_free: what else must hold for it."""
        numbered = (f"{wanted}~{number}" for number in count(1))
        name = wanted
        while name in self._taken or not is_free(name):
            name = next(numbered)
        self._taken.add(name)
        return name

    def has(self, name: str) -> bool:
        return name in self._taken


def picture_name(entry: ImageEntry) -> str:
    """What an image is called: its file, or where the input holds the picture and no name of it, its id."""
    return entry.image_id if isinstance(entry.embedded, str) else entry.file_name


def folder_of(name: str) -> str:
    """Folders of a file name, with a slash at the end; none if they lead out of the place or could not be made."""
    try:
        folders = PurePosixPath(name_inside(name)).parts[:-1]
    except RegionError:
        return ""
    return "".join(f"{part}/" for part in folders) if all(_can_be_made(part) for part in folders) else ""


def stem_of(name: str) -> str:
    """The last segment of a file name without the ending of a picture, as part of a file name."""
    path = PurePosixPath(name)
    return part_of(path.stem if path.suffix.lower() in ENDINGS else path.name)


def part_of(name: str) -> str:
    """A text as part of a file name, the same if it can be one."""
    part = name.replace("/", "_").replace("\0", "_")
    if len(part.encode()) > LONGEST:
        part = part[:KEPT]
    return "_" if part in ("", ".", "..") else part


def _can_be_made(folder: str) -> bool:
    """Not one that is called like a file beside it may be."""
    return part_of(folder) == folder and PurePosixPath(folder).suffix.lower() not in ENDINGS
