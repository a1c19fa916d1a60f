"""What a conversion is made from: the images of an input, and the masks of each, decoded one at a time.

Masks become run lengths; those that already are stay as they are written.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pdlm_cli.conversions.result import Converted
from pdlm_cli.errors import RegionError
from pdlm_cli.manifest import Manifest
from pdlm_cli.masks import Mask, encode, pack, stated_size
from pdlm_cli.regions import ImageEntry, Region
from pdlm_cli.sources import MaskReader, Size, Sources

# What an input may say of a region, and what that is called when it is left behind.
SAID = {"category": "categories", "crowd": "crowd marks", "prompt": "prompts", "caption": "captions"}


@dataclass(frozen=True)
class ReadRegion:
    """A region; its mask, or the error that it has instead; and its run lengths, None if there are none."""

    region: Region
    mask: Mask | None
    rle: dict[str, Any] | None
    error: RegionError | None

    @property
    def written(self) -> Any:
        """Its mask for JSON: run lengths; if there are none, what the readers take for a mask that cannot be used."""
        if self.rle is not None:
            return self.rle
        own = self.region.segmentation
        polygons = isinstance(own, list) and own and all(isinstance(part, list) for part in own)
        return own if isinstance(own, dict) or polygons else {"unreadable": str(self.error)}


@dataclass(frozen=True)
class ConversionSource:
    """holds: which of SAID the format has a place for, and "picture" if it has one for pictures."""

    manifest: Manifest
    sources: Sources
    holds: Collection[str]
    converted: Converted = field(default_factory=Converted)

    def entries(self) -> Iterator[ImageEntry]:
        """The images alone, less those of too many regions, for the lists that come before the regions."""
        return (entry for entry in self.manifest if entry.refused is None)

    @contextmanager
    def images(self) -> Iterator[Iterator[ImageEntry]]:
        """The images, told of as they are done with. Those of too many regions are errors, and left out."""
        if without := self.manifest.images_without_regions:
            self.converted.not_held["images without regions"] += without
        with self.manifest.watched("converting") as entries:
            yield self._taken(entries)

    def regions(self, entry: ImageEntry) -> Iterator[ReadRegion]:
        """The regions of an image in input order, all of them; those whose mask cannot be used are told of."""
        masks = MaskReader(self.sources, entry)
        for region in entry.regions:
            self._leave_behind(region)
            mask, error = None, None
            rle = region.segmentation if _is_rle(region.segmentation) else None
            try:
                pixels = masks.pixels(region, self._frame(entry, region))
                rle = rle or encode(pixels)
                mask = pack(pixels)
            except RegionError as found:
                error = found
                self.converted.failed(entry, region, error)
            yield ReadRegion(region, mask, rle, error)

    def size(self, entry: ImageEntry) -> Size | None:
        """(width, height) in pixels that the input states for an image, or else in its masks."""
        return (entry.width, entry.height) if entry.width and entry.height else self.sources.drawn_on(entry)

    def picture(self, entry: ImageEntry) -> bytes | None:
        """The picture's file; None, which is told of, if it cannot be read."""
        try:
            with self.sources.open(entry) as file:
                return file.read()
        except RegionError as error:
            self.converted.failed(entry, None, error)
            return None

    def renamed(self, what: str, old: str, new: object) -> None:
        """Count an id that the format cannot hold as it is. what: ids of a kind."""
        if str(new) != old:
            self.converted.not_held[what] += 1

    def _taken(self, entries: Iterator[ImageEntry]) -> Iterator[ImageEntry]:
        last = None
        for entry in entries:
            self.converted.images += entry.image_id != last  # an image of too many regions comes in pieces
            self.converted.regions += len(entry.regions)
            last = entry.image_id
            if entry.refused is not None:
                for region in entry.regions:
                    self.converted.failed(entry, region, RegionError(*entry.refused))
                continue
            if entry.embedded is not None and "picture" not in self.holds:
                self.converted.not_held["pictures in the input itself"] += 1
            yield entry

    def _leave_behind(self, region: Region) -> None:
        for what, called in SAID.items():
            if getattr(region, what) not in (None, False) and what not in self.holds:
                self.converted.not_held[called] += 1

    def _frame(self, entry: ImageEntry, region: Region) -> Size:
        """(width, height) of the picture that a mask belongs to; the picture is only asked if the input says none."""
        sources = self.sources
        size = stated_size(region.segmentation) or sources.drawn_on(entry) or sources.picture_size(entry)
        if size[0] * size[1] > sources.max_pixels:
            raise RegionError(
                "bad_image", f"{size[0]} x {size[1]} pixels are more than --max-pixels {sources.max_pixels}"
            )
        return size


def sides(size: Size | None) -> dict[str, int]:
    """What JSON says of a size (width, height) in pixels, nothing if it is not known."""
    return {} if size is None else {"width": size[0], "height": size[1]}


def _is_rle(segmentation: Any) -> bool:
    """Whether a mask fits the columns of a manifest as it is, right or wrong."""
    try:
        size = stated_size(segmentation)
    except RegionError:
        return False
    return size is not None and max(size) < 2**31 and isinstance(segmentation.get("counts"), str)
