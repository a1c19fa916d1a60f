"""`pdlm inspect`: what an input holds, and what would go wrong with it, before a model is loaded."""

import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from PIL import Image
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pdlm_cli.annotated import sheet
from pdlm_cli.errors import RegionError
from pdlm_cli.manifest import Manifest
from pdlm_cli.masks import pack
from pdlm_cli.regions import ImageEntry, Region
from pdlm_cli.showing import page_of
from pdlm_cli.sources import MaskReader, Size, Sources
from pdlm_cli.stdout import printable

SHOWN_CATEGORIES = 20
EXAMPLES = 10  # of each problem
DUPLICATE = "duplicate_mask"  # captioned all the same, unlike regions with one of errors.ErrorCode


@dataclass
class Inspection:
    """regions_per_image, widths, heights: how often each number occurs. unchecked: masks of images whose size nothing
    says. problems: how often each occurs, by code. examples: the first few of each."""

    format: str
    sha256: str
    images: int
    images_without_regions: int
    regions: int
    regions_per_image: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    mask_kinds: Counter[str] = field(default_factory=Counter)
    unchecked: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """3 if captioning would end with error rows, as it would itself."""
        return 3 if self.problems.keys() - {DUPLICATE} else 0

    def note(self, entry: ImageEntry, region: Region, code: str, message: str) -> None:
        self.problems[code] += 1
        examples = self.examples.setdefault(code, [])
        if len(examples) < EXAMPLES:
            examples.append(f"region {region.region_id} of image {entry.image_id}: {message}")

    def to_json(self) -> str:
        """On one line. Numbers of regions, widths and heights are given by their least, mean and greatest."""
        return json.dumps(
            {
                "format": self.format,
                "sha256": self.sha256,
                "images": self.images,
                "images_without_regions": self.images_without_regions,
                "regions": self.regions,
                "regions_per_image": _spread(self.regions_per_image),
                "width": _spread(self.widths),
                "height": _spread(self.heights),
                "categories": dict(self.categories.most_common()),
                "mask_kinds": dict(self.mask_kinds.most_common()),
                "unchecked": self.unchecked,
                "problems": dict(self.problems.most_common()),
                "examples": self.examples,
            }
        )

    def render(self) -> RenderableType:
        """Tables for people. What comes from the input enters as plain text."""
        facts = Table("", "", title="Input", show_header=False)
        facts.add_row("format", self.format)
        facts.add_row("images with regions", str(self.images))
        if self.images_without_regions:
            facts.add_row("images without regions", f"{self.images_without_regions}, which are left out")
        facts.add_row("regions", str(self.regions))
        for name, counts in (
            ("regions an image", self.regions_per_image),
            ("width", self.widths),
            ("height", self.heights),
        ):
            if counts:
                facts.add_row(name, "{min} to {max}, {mean:.1f} on average".format(**_spread(counts)))
        if self.mask_kinds:
            facts.add_row("masks", ", ".join(f"{kind} {count}" for kind, count in self.mask_kinds.most_common()))
        without_category = self.regions - self.categories.total()
        if self.categories and without_category:
            facts.add_row("regions without category", str(without_category))
        if self.unchecked:
            facts.add_row("masks not looked at", f"{self.unchecked}: nothing says how large their pictures are")
        if not self.problems:
            facts.add_row("problems", "none")
        tables: list[RenderableType] = [facts]
        if self.categories:
            listed = Table("category", "regions", title=f"{len(self.categories)} categories")
            for name, count in self.categories.most_common(SHOWN_CATEGORIES):
                listed.add_row(Text(printable(name)), str(count))
            tables.append(listed)
        for code, count in self.problems.most_common():
            problems = Table(code, title=f"{count} × {code}", show_header=False)
            for example in self.examples[code]:
                problems.add_row(Text(printable(example)))
            tables.append(problems)
        return Group(*tables)


def inspect(manifest: Manifest, sources: Sources, *, pictures: bool) -> Inspection:
    """Look at every region. pictures: also decode every picture, and hold the masks against them instead of against
    the sizes that the input states."""
    without = manifest.images_without_regions
    found = Inspection(manifest.format, manifest.sha256, manifest.images, without, manifest.regions)
    with manifest.watched("looking at") as entries:
        for entry in entries:
            _look_at(entry, sources, pictures, found)
    return found


def _look_at(entry: ImageEntry, sources: Sources, pictures: bool, found: Inspection) -> None:
    found.regions_per_image[len(entry.regions)] += 1
    found.categories.update(region.category for region in entry.regions if region.category is not None)
    found.mask_kinds.update(mask_kind(region.segmentation) for region in entry.regions)
    try:
        if entry.refused is not None:
            raise RegionError(*entry.refused)
        size = sources.picture(entry).size if pictures else _stated(entry, sources)
    except RegionError as error:
        for region in entry.regions:
            found.note(entry, region, error.code, str(error))
        return
    if size is not None:
        found.widths[size[0]] += 1
        found.heights[size[1]] += 1
    _check_masks(entry, sources, size, found)


def mask_kind(segmentation: Any) -> str:
    """In one or two words: which of the forms of masks.py a mask has."""
    if isinstance(segmentation, list):
        return "polygons"
    if not isinstance(segmentation, dict):
        return "none"
    for key, kind in (("box", "box"), ("whole", "whole picture"), ("file", "mask picture"), ("unreadable", "none")):
        if key in segmentation:
            return kind
    return "run lengths" if isinstance(segmentation.get("counts"), str) else "uncompressed run lengths"


def preview(manifest: Manifest, sources: Sources, pictures: int) -> Image.Image:
    """The first pictures with their regions outlined, and their names, ids and categories beside."""
    pages = []
    for entry in islice(manifest, pictures):
        labels = [" ".join(filter(None, (region.region_id, region.category))) for region in entry.regions]
        pages.append(page_of(entry, sources, [printable(label) for label in labels]))
    return sheet(pages)


def _stated(entry: ImageEntry, sources: Sources) -> Size | None:
    """The size that the input states, for the image or else in its masks, unless no picture may be so large."""
    stated = (entry.width, entry.height) if entry.width and entry.height else sources.drawn_on(entry)
    if stated is None:
        return None
    width, height = stated[0] or 0, stated[1] or 0
    if width * height > sources.max_pixels:
        raise RegionError("bad_image", f"{width} x {height} pixels are more than --max-pixels {sources.max_pixels}")
    return width, height


def _check_masks(entry: ImageEntry, sources: Sources, size: Size | None, found: Inspection) -> None:
    masks = MaskReader(sources, entry)
    seen: dict[str, str] = {}
    for region in entry.regions:
        if size is None:
            found.unchecked += 1
            continue
        try:
            digest = pack(masks.pixels(region, size)).digest
        except RegionError as error:
            found.note(entry, region, error.code, str(error))
            continue
        if digest in seen:
            found.note(entry, region, DUPLICATE, f"the same pixels as region {seen[digest]}")
        seen.setdefault(digest, region.region_id)


def _spread(counts: Counter[int]) -> dict[str, Any]:
    total = counts.total()
    mean = sum(value * count for value, count in counts.items()) / total if total else None
    return {"min": min(counts, default=None), "mean": mean, "max": max(counts, default=None)}
