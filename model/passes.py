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
    """Region prompt and caption marker of each slot of a pass, from distinct numbers: drawn at random for the slots in
    training, 0, 1, ... in captioning.

    binding: "isolated" gives a slot's prompt and marker the same number; "released" numbers the markers 0, 1, ... by
    slot, whatever the prompts are; "shared" gives all slots prompt 0.
    """
    assert len(set(numbers)) == len(numbers)
    prompts = (0,) * len(numbers) if binding == "shared" else tuple(numbers)
    return prompts, tuple(range(len(numbers))) if binding == "released" else tuple(numbers)


def region_seed(seed: int, key: str) -> int:
    """Seed from 0 to 2^63 - 1 for sampling a region's caption: the same whatever else is captioned."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8]) >> 1
