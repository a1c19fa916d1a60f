"""Random choices; numpy's own `choice` builds arrays and takes ten times as long."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def pick(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def shuffled(rng: np.random.Generator, items: Sequence[Item]) -> list[Item]:
    return [items[i] for i in rng.permutation(len(items)).tolist()]
