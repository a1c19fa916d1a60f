"""Ids as the formats like them: whole numbers."""

from collections.abc import Callable, Sequence
from itertools import count

from pdlm_cli.regions import Region


def id_number(name: str) -> int | str:
    """An id as COCO's tools like it: a number if it is one."""
    return int(name) if name.isascii() and name.isdigit() and str(int(name)) == name else name


def numbered(regions: Sequence[Region], own: Callable[[Region], int | None], *, first: int) -> list[int]:
    """A number for each region of an image, no two the same: its own where it has one, otherwise the least that is
    free. own: its own, None for none. first: the least."""
    numbers: dict[int, Region] = {}
    for region in regions:
        wanted = own(region)
        if wanted is not None:
            numbers.setdefault(wanted, region)
    held = {region.source_index: number for number, region in numbers.items()}
    free = (number for number in count(first) if number not in numbers)
    return [held[region.source_index] if region.source_index in held else next(free) for region in regions]
