"""What a worker process and the process that started it tell each other.

Pickled, over a socket pair that only these two hold, but for arrays (see handover). Nothing here needs torch: pictures
are arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.preprocess import Geometry
from model.settings import DecodeSettings
from pdlm_cli.engine import PassResult


@dataclass(frozen=True)
class Start:
    """To a worker, first: what to load, and where. device: as `load_engine` has it; see there for the others.

    threads: of torch on the CPU, at most; None for its own choice. life: 0 for the first process of a device, then 1,
    2, ...
    """

    checkpoint: str
    device: str
    dtype: str
    quantize: str | None
    compiled: bool
    settings: DecodeSettings
    threads: int | None
    life: int


@dataclass(frozen=True)
class Loaded:
    """From a worker, once it can caption. batch_size: passes of a call that suit the device. lanes: of them, on the
    device at a time, None for all. cuda_devices: how many there are."""

    geometry: Geometry
    max_regions: int
    model_sha256: str
    facts: Mapping[str, str]
    batch_size: int
    lanes: int | None
    cuda_devices: int


@dataclass(frozen=True)
class Work:
    """To a worker: a batch of prepared passes, and the seconds after which it ends itself."""

    passes: Sequence[Any]
    limit_s: float


@dataclass(frozen=True)
class Done:
    """From a worker: results in the order of the passes, and the seconds that it computed."""

    results: list[PassResult]
    busy_s: float


@dataclass(frozen=True)
class OutOfMemory:
    """From a worker, which can go on: the batch did not fit."""

    message: str


@dataclass(frozen=True)
class Failed:
    """From a worker, its last words. code: device (it may be mended by a fresh worker), config (it cannot) or bug."""

    code: str
    message: str


@dataclass(frozen=True)
class Note:
    """From a worker at any time: something for the log. level: of `logging`."""

    level: int
    message: str
