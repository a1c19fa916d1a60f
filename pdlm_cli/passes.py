"""Which images share a part, which regions a pass: decided by the input alone, not by workers or time."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from model.passes import split_passes
from pdlm_cli.masks import Mask
from pdlm_cli.regions import ImageEntry


@dataclass(frozen=True, slots=True)
class Pass:
    """Regions of one image that are captioned together.

    members: indices into the regions given to plan_passes, at most max_regions.
    pass_id: 16 hex digits over the keys of its regions; the same input gives the same id in every run.
    """

    pass_id: str
    members: tuple[int, ...]


def plan_parts(entries: Iterable[ImageEntry], part_rows: int) -> Iterator[tuple[int, ImageEntry]]:
    """Number of the output part of each image: a part is closed once it has part_rows regions or more."""
    part, rows = 0, 0
    for entry in entries:
        if rows >= part_rows:
            part, rows = part + 1, 0
        rows += len(entry.regions)
        yield part, entry


def plan_passes(keys: Sequence[str], masks: Sequence[Mask], max_regions: int) -> list[Pass]:
    """Share the regions of one image out over balanced passes.

    keys: region keys, one a mask; they also rank regions with equal masks, so that the plan does not depend
    on the order of the input.
    """
    digests = [f"{mask.digest}:{key}" for mask, key in zip(masks, keys, strict=True)]
    groups = split_passes([mask.area for mask in masks], digests, max_regions)
    return [Pass(_pass_id([keys[i] for i in group]), tuple(group)) for group in groups]


def _pass_id(keys: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]
