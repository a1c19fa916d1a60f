"""How the regions of one image are shared out over passes.

Pure Python: planning a run of millions of regions must not cost an import of torch.
"""

import hashlib
from collections.abc import Sequence


def pass_sizes(regions: int, max_regions: int) -> list[int]:
    """Sizes of the fewest passes that hold `regions` regions, as even as can be: 7 at 6 a pass are 4 + 3."""
    if max_regions < 1:
        raise ValueError(f"max_regions must be at least 1, found {max_regions}")
    passes = -(-regions // max_regions)
    return [regions // passes + (i < regions % passes) for i in range(passes)]


def split_passes(areas: Sequence[int], digests: Sequence[str], max_regions: int) -> list[list[int]]:
    """Share regions out over passes: indices into `areas`, one list a pass.

    areas: pixels of each region's mask. digests: anything stable that tells two masks of one area apart.
    Regions are ranked largest first, as slots are; only equal masks fall back on their place in the input,
    so the same masks meet in the same pass whatever order they came in.
    """
    assert len(areas) == len(digests)
    ranked = sorted(range(len(areas)), key=lambda i: (-areas[i], digests[i]))
    passes, start = [], 0
    for size in pass_sizes(len(ranked), max_regions):
        passes.append(ranked[start : start + size])
        start += size
    return passes


def bind(numbers: Sequence[int], binding: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Region prompt and caption marker of each slot of a training pass, from distinct numbers drawn for the slots.

    binding: "isolated" gives a slot's prompt and marker the same number; "released" numbers the markers 0, 1, ... by
    slot, whatever the prompts are.
    """
    assert len(set(numbers)) == len(numbers)
    return tuple(numbers), tuple(numbers) if binding == "isolated" else tuple(range(len(numbers)))


def region_seed(seed: int, key: str) -> int:
    """Seed from 0 to 2^63 - 1 for sampling a region's caption: the same whatever else is captioned."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8]) >> 1
