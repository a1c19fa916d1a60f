"""In which order samples come: a pure function of seed and epoch, with no state to save or restore.

Every draw is a hash of what it is for (seed, epoch, source, record, ...), so that any worker of any process can look
up any sample without having seen those before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
# What a draw is for.
SUBSET, REPEAT, SIZE, PLACE, REGION, BLOCK, SUBSTITUTE, DRAW, NOISE, OBJECTS, SHAPE, QUESTION = range(12)


def mix(*parts: int | NDArray[np.integer]) -> Keys:
    """A 64-bit hash of integers, element by element of broadcast arrays (splitmix64's finalizer after each part)."""
    state: Keys = np.zeros((), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            word = np.asarray(part).astype(np.uint64)
            state = (state ^ word) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def uniform(keys: Keys) -> NDArray[np.float64]:
    """Hashes as numbers in [0, 1)."""
    return (keys >> np.uint64(11)).astype(np.float64) / 2.0**53


@dataclass(frozen=True)
class Extent:
    """What the order must know of a source of N records.

    regions: (N,) regions of each record. blocks: (N,) records of one block are read together (a Parquet row group);
    None if any record is as good as any other. together: blocks that are shuffled as one. most: largest group;
    fewest: whether groups are as large as they can be. weight, count: see `Source`. tiles: (N,) of each picture, None
    where that is not known before it is read.
    """

    regions: NDArray[np.int64]
    blocks: NDArray[np.int64] | None
    together: int
    most: int
    weight: float
    count: int | None
    fewest: bool = False
    tiles: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class SampleRef:
    """A group of regions of one record: regions are indices into it, in a random order."""

    source: int
    record: int
    regions: tuple[int, ...]


@dataclass(frozen=True)
class Epoch:
    """The S samples of an epoch in order: (S,) arrays. copy: tells repetitions of a record apart. start, size: of the
    group among the record's regions, once these are shuffled."""

    number: int
    source: NDArray[np.int64]
    record: NDArray[np.int64]
    copy: NDArray[np.int64]
    start: NDArray[np.int64]
    size: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)


def plan_epoch(extents: Sequence[Extent], seed: int, epoch: int) -> Epoch:
    """All samples of an epoch, shuffled."""
    columns: list[list[NDArray[np.int64]]] = [[], [], [], [], []]
    places = []
    for number, extent in enumerate(extents):
        chosen = _subset(extent, seed, number)
        for copy in range(int(np.ceil(extent.weight))):
            share = extent.weight - copy
            drawn = uniform(mix(seed, epoch, number, copy, chosen, REPEAT))
            kept = chosen[drawn < share]
            own, group, start, size = _groups(mix(seed, epoch, number, kept, copy), extent.regions[kept], extent)
            record = kept[own]
            within = uniform(mix(seed, epoch, number, record, copy, group, PLACE))
            places.append(_spread(extent, record, within, mix(seed, epoch, number)))
            rows = (np.full(len(record), number), record, np.full(len(record), copy), start, size)
            for column, values in zip(columns, rows, strict=True):
                column.append(values)
    order = np.argsort(np.concatenate(places), kind="stable")
    return Epoch(epoch, *(np.concatenate(column)[order] for column in columns))


def sample_at(extents: Sequence[Extent], seed: int, epoch: Epoch, row: int) -> SampleRef:
    """The sample in row `row` of an epoch."""
    source, record = int(epoch.source[row]), int(epoch.record[row])
    key = mix(seed, epoch.number, source, record, int(epoch.copy[row]))
    count = int(extents[source].regions[record])
    order = np.argsort(mix(key, REGION, np.arange(count)), kind="stable")
    start, size = int(epoch.start[row]), int(epoch.size[row])
    return SampleRef(source, record, tuple(order[start : start + size].tolist()))


def _groups(
    keys: Keys, regions: NDArray[np.int64], extent: Extent
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The (S,) groups that (N,) records are split into, record by record: of which of them, the how many-th of it, and
    its start and size. Sizes are drawn from 1 to `extent.most`, each as likely as the others, until no region is
    left."""
    found: list[NDArray[np.int64]] = []
    left, draw = regions.copy(), 0
    own = np.flatnonzero(left)
    while not found or len(own):
        size = np.minimum(_size(keys[own], draw, extent), left[own])
        found.append(np.stack([own, np.full_like(own, draw), regions[own] - left[own], size]))
        left[own] -= size
        own, draw = own[left[own] > 0], draw + 1
    groups = np.concatenate(found, axis=1)
    record, group, start, size = groups[:, np.argsort(groups[0], kind="stable")]
    return record, group, start, size


def _size(keys: Keys, draw: int, extent: Extent) -> NDArray[np.int64]:
    most = extent.most
    if extent.fewest:
        return np.full(keys.shape, most)
    return 1 + (uniform(mix(keys, SIZE, draw)) * most).astype(np.int64)


def _subset(extent: Extent, seed: int, number: int) -> NDArray[np.int64]:
    records = np.arange(len(extent.regions))
    if extent.count is None or extent.count >= len(records):
        return records
    return np.sort(np.argsort(mix(seed, number, records, SUBSET), kind="stable")[: extent.count])


def _spread(extent: Extent, record: NDArray[np.int64], within: NDArray[np.float64], key: Keys) -> NDArray[np.float64]:
    """Places in [0, 1): even over the epoch, or, for blocks, each in the stretch of its window of blocks."""
    if extent.blocks is None:
        return within
    count = int(extent.blocks.max()) + 1
    rank = np.argsort(np.argsort(mix(key, BLOCK, np.arange(count)), kind="stable"))
    windows = -(-count // extent.together)
    return (rank[extent.blocks[record]] // extent.together + within) / windows


class Stream:
    """The samples of epoch after epoch as one sequence; step s of batch N takes places s N to (s + 1) N."""

    def __init__(self, extents: Sequence[Extent], seed: int) -> None:
        self.extents, self.seed = tuple(extents), seed
        self._ends: list[int] = []  # place at which each epoch so far ends
        self._epochs: dict[int, Epoch] = {}

    def epoch(self, number: int) -> Epoch:
        if number not in self._epochs:
            # Two epochs are enough: a batch may reach over the border between them.
            self._epochs = {n: e for n, e in self._epochs.items() if n == number - 1}
            self._epochs[number] = plan_epoch(self.extents, self.seed, number)
        return self._epochs[number]

    def length(self, epochs: float) -> int:
        """Samples of that many epochs. Raises ValueError if an epoch holds none."""
        whole = int(epochs)
        return self._end(whole) + int((epochs - whole) * len(self.epoch(whole)) if epochs > whole else 0)

    def locate(self, place: int) -> tuple[Epoch, int]:
        """The epoch of a place of the sequence, and the row in it."""
        number = 0
        while self._end(number + 1) <= place:
            number += 1
        return self.epoch(number), place - self._end(number)

    def at(self, place: int) -> SampleRef:
        epoch, row = self.locate(place)
        return sample_at(self.extents, self.seed, epoch, row)

    def substitute(self, place: int, attempt: int) -> SampleRef:
        """What stands in for the sample at `place` when it is bad: another one of its epoch, found by hash."""
        epoch, _ = self.locate(place)
        row = int(uniform(mix(self.seed, place, attempt, SUBSTITUTE)) * len(epoch))
        return sample_at(self.extents, self.seed, epoch, row)

    def _end(self, epochs: int) -> int:
        while len(self._ends) < epochs:
            size = len(self.epoch(len(self._ends)))
            if not size:
                raise ValueError("data.sources: expected regions with captions, or questions, found none in any record")
            self._ends.append((self._ends[-1] if self._ends else 0) + size)
        return self._ends[epochs - 1] if epochs else 0
