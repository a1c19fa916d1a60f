"""Reads the input file: recognises its format by structure and gives a stream of images with regions."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from pdlm_cli import strict_json
from pdlm_cli.errors import InputError
from pdlm_cli.readers import coco
from pdlm_cli.regions import ImageEntry

# Each reader has NAME, recognises(value) -> bool and read(value) -> list[ImageEntry]; the first match reads.
READERS = (coco,)


@dataclass(frozen=True)
class Manifest:
    """The images to caption, in input order; images without regions are left out.

    sha256: of the file, to tell one input from another.
    """

    path: Path
    format: str
    sha256: str
    entries: tuple[ImageEntry, ...]

    def __iter__(self) -> Iterator[ImageEntry]:
        return iter(self.entries)

    @property
    def images(self) -> int:
        return len(self.entries)

    @property
    def regions(self) -> int:
        return sum(len(entry.regions) for entry in self.entries)

    def limited(self, images: int) -> "Manifest":
        """The first `images` images only. Whole images, so that their rows are those of the full run."""
        return replace(self, entries=tuple(islice(self.entries, images)))

    def sharded(self, index: int, count: int) -> "Manifest":
        """The images of shard `index` of `count`, from 0: by a hash of their id, so whatever else the input holds."""
        return replace(self, entries=tuple(entry for entry in self.entries if shard_of(entry.image_id, count) == index))


def shard_of(image_id: str, count: int) -> int:
    """Which of `count` shards, from 0, an image belongs to."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8]) % count


def open_manifest(path: Path) -> Manifest:
    """Read an annotation file. Raises InputError naming the file, what was expected and what was found."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    try:
        value = strict_json.loads(data)
        for reader in READERS:
            if reader.recognises(value):
                entries = [entry for entry in reader.read(value) if entry.regions]
                return Manifest(path, reader.NAME, hashlib.sha256(data).hexdigest(), tuple(entries))
        raise ValueError(f"{_describe(value)} is no known annotation format; expected {coco.EXPECTED}")
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _describe(value: object) -> str:
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(map(repr, list(value)[:10])) or '(none)'}"
    return f"a list of {len(value)} items" if isinstance(value, list) else f"a single {type(value).__name__}"
