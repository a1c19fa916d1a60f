"""What was measured, a row a point, as Parquet and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pdlm_cli.errors import InputError
from pdlm_cli.parquet import table_bytes

SCHEMA_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One contender at one place of an axis, measured several times. Times are those of one repeat.

    bench: the measurement. contender: who, or which stage. axis, value: what varies and where on it. seconds: of each
    repeat, warm-up left out. encode_seconds: of them, vision and RoI features. images, regions, tokens: of a repeat;
    tokens are caption slots written. steps: forwards of the decoder that a caption took. measured: share of the work
    that was run, 1 for all; the rest is the same work again and was counted, not run. flop, moved_bytes: counted from
    the config. of_matrix_rate, of_bandwidth: both a second, as shares of what this machine does. of_roofline: the least
    time that they allow on it over the median time.
    cpu_seconds: of the process, of all processes of a run. peak_rss_bytes, peak_device_bytes: the most held.
    planned_bytes: the most that was planned for. joules, watts, utilization (0 to 1), peak_gpu_bytes, sm_mhz,
    memory_mhz: of the GPU, all that uses it counted. All these are None where nobody can say, or where only a part was
    run.
    """

    bench: str
    contender: str
    axis: str
    value: float
    seconds: tuple[float, ...]
    encode_seconds: float | None = None
    images: int = 1
    regions: int = 0
    tokens: int = 0
    steps: float | None = None
    measured: float = 1.0
    note: str = ""
    flop: float | None = None
    moved_bytes: float | None = None
    of_matrix_rate: float | None = None
    of_bandwidth: float | None = None
    of_roofline: float | None = None
    cpu_seconds: float | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    planned_bytes: int | None = None
    joules: float | None = None
    watts: float | None = None
    utilization: float | None = None
    peak_gpu_bytes: int | None = None
    sm_mhz: float | None = None
    memory_mhz: float | None = None

    @property
    def key(self) -> tuple[str, str, str, float]:
        """What tells it from the other points of a run, and finds its like in another."""
        return self.bench, self.contender, self.axis, self.value

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.seconds, share))

    @property
    def p90(self) -> float:
        return self.quantile(0.9)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    @property
    def seconds_per_image(self) -> float:
        return self.median / self.images

    @property
    def spread(self) -> float:
        """Half the distance of the slowest and the fastest repeat, by the median."""
        return (max(self.seconds) - min(self.seconds)) / 2 / self.median if self.median else 0.0

    @property
    def regions_per_second(self) -> float:
        return self.regions / self.median if self.median else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.median if self.median else 0.0

    @property
    def joules_per_caption(self) -> float | None:
        return self.joules / self.regions if self.joules is not None and self.regions else None


def _field(name: str, kind: Any, unit: str | None = None, *, nullable: bool = False) -> Any:
    return pa.field(name, kind, nullable=nullable, metadata={"unit": unit} if unit else None)


SCHEMA = pa.schema(
    [
        _field("bench", pa.string()),
        _field("contender", pa.string()),
        _field("axis", pa.string()),
        _field("value", pa.float64()),
        _field("seconds", pa.list_(pa.float64()), "s, one a repeat"),
        _field("encode_seconds", pa.float64(), "s", nullable=True),
        _field("images", pa.int64()),
        _field("regions", pa.int64()),
        _field("tokens", pa.int64(), "caption slots"),
        _field("steps", pa.float64(), "decoder forwards a caption", nullable=True),
        _field("measured", pa.float64(), "share of the work that was run"),
        _field("note", pa.string()),
        _field("flop", pa.float64(), "floating-point operations", nullable=True),
        _field("moved_bytes", pa.float64(), "bytes", nullable=True),
        _field("of_matrix_rate", pa.float64(), "0 to 1", nullable=True),
        _field("of_bandwidth", pa.float64(), "0 to 1", nullable=True),
        _field("of_roofline", pa.float64(), "0 to 1", nullable=True),
        _field("cpu_seconds", pa.float64(), "s", nullable=True),
        _field("peak_rss_bytes", pa.int64(), "bytes", nullable=True),
        _field("peak_device_bytes", pa.int64(), "bytes", nullable=True),
        _field("planned_bytes", pa.int64(), "bytes", nullable=True),
        _field("joules", pa.float64(), "J", nullable=True),
        _field("watts", pa.float64(), "W", nullable=True),
        _field("utilization", pa.float64(), "0 to 1", nullable=True),
        _field("peak_gpu_bytes", pa.int64(), "bytes", nullable=True),
        _field("sm_mhz", pa.float64(), "MHz", nullable=True),
        _field("memory_mhz", pa.float64(), "MHz", nullable=True),
    ]
)


def points_bytes(points: Sequence[Point], metadata: Mapping[str, str]) -> bytes:
    """One zstd Parquet file. metadata: for its schema."""
    schema = SCHEMA.with_metadata({"pdlm.bench_version": SCHEMA_VERSION, **metadata})
    rows = [{**asdict(point), "seconds": list(point.seconds)} for point in points]
    return table_bytes(pa.Table.from_pylist(rows, schema=schema))


def read_points(path: Path) -> tuple[list[Point], dict[str, str]]:
    """The points of a file, or of the results.parquet of a folder, and its metadata. Raises InputError."""
    file = path / "results.parquet" if path.is_dir() else path
    try:
        table = pq.read_table(file)
    except FileNotFoundError as error:
        raise InputError(f"there is no {file}; expected what `pdlm bench` wrote") from error
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).rpartition(f"'{file}': ")[2]  # it would name the file again
        raise InputError(f"cannot read {file}; expected what `pdlm bench` wrote: {reason}") from error
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if metadata.get("pdlm.bench_version") != SCHEMA_VERSION:
        raise InputError(f"{file} is not from this version of `pdlm bench`; measure again")
    known = table.select([name for name in table.column_names if name in SCHEMA.names])  # later ones may say more
    return [Point(**{**row, "seconds": tuple(row["seconds"])}) for row in known.to_pylist()], metadata
