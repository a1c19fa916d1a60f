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

    members: indices into the regions given to plan_passes, at most max_regions. prompt: what all of them are asked,
    None for what the run asks.
    pass_id: 16 hex digits over the keys of its regions; the same input gives the same id in every run.
    """

    pass_id: str
    members: tuple[int, ...]
    prompt: str | None = None


def plan_parts(entries: Iterable[ImageEntry], part_rows: int) -> Iterator[tuple[int, ImageEntry]]:
    """Number of the output part of each image: a part is closed once it has part_rows regions or more."""
    part, rows = 0, 0
    for entry in entries:
        if rows >= part_rows:
            part, rows = part + 1, 0
        rows += len(entry.regions)
        yield part, entry


def plan_passes(
    keys: Sequence[str], masks: Sequence[Mask], prompts: Sequence[str | None], max_regions: int
) -> list[Pass]:
    """Share the regions of one image out over balanced passes, those that are asked the same together.

    keys: region keys, one a mask; they also rank regions with equal masks, so that the plan does not depend
    on the order of the input. prompts: of each region.
    """
    plans = []
    for prompt in sorted(set(prompts), key=lambda own: own or ""):
        asked = [i for i, own in enumerate(prompts) if own == prompt]
        digests = [f"{masks[i].digest}:{keys[i]}" for i in asked]
        for group in split_passes([masks[i].area for i in asked], digests, max_regions):
            members = tuple(asked[place] for place in group)
            plans.append(Pass(_pass_id([keys[i] for i in members]), members, prompt))
    return plans


def _pass_id(keys: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]
