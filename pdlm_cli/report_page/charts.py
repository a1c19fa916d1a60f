"""Numbers of a run as charts: bars with their labels, for the page to draw."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BARS = 24


@dataclass(frozen=True)
class Bar:
    """share: of the longest bar, or of the whole, 0 to 1."""

    label: str
    value: str
    share: float


@dataclass(frozen=True)
class Chart:
    """A histogram. axis: labels of its left end, its middle and its right end."""

    title: str
    about: str
    bars: list[Bar]
    axis: tuple[str, str, str]


@dataclass(frozen=True)
class Stages:
    """Where the time went: bars that add up to the whole."""

    bars: list[Bar]


def stages(numbers: pa.Table) -> Stages | None:
    """Seconds of each stage; None if no row was timed.

    Pictures are loaded once an image and prepared once a pass, in threads; a model call is shared out over its regions.
    """
    share, whole = _floats(numbers["pass_share_ms"]), _floats(numbers["pass_ms"])
    with np.errstate(divide="ignore", invalid="ignore"):
        encode = np.nansum(share * _floats(numbers["encode_ms"]) / whole)
        decode = np.nansum(share * _floats(numbers["decode_ms"]) / whole)
    seconds = {
        "load pictures": _once(numbers, "image_id", "load_ms") / 1e3,
        "prepare passes": _once(numbers, "pass_id", "preprocess_ms") / 1e3,
        "encode (vision tower)": float(encode) / 1e3,
        "decode (denoising)": float(decode) / 1e3,
    }
    total = sum(seconds.values())
    if not total:
        return None
    return Stages(
        [Bar(name, f"{spent:.1f} s, {100 * spent / total:.0f} %", spent / total) for name, spent in seconds.items()]
    )


def charts(numbers: pa.Table) -> list[Chart]:
    """Histograms of what there are numbers for."""
    share = _known(numbers["pass_share_ms"])
    confidence = _known(numbers["mean_confidence"])
    tokens = _known(numbers["tokens_generated"])
    drawn = []
    if share.size:
        about = f"A region's share of its model call. Half of all take at most {_number(float(np.median(share)))} ms."
        top = float(np.quantile(share, 0.99))
        drawn.append(_histogram("Model time a region", about, share, np.linspace(0, max(top, 1e-3), BARS + 1), "ms"))
    finished = np.asarray(numbers["finished_at"].cast(pa.int64()).to_numpy(), dtype=np.float64) / 1e6
    if finished.size > 1 and np.ptp(finished) > 0:
        since = finished - finished.min()
        about = "When rows were finished, counted from the first one."
        drawn.append(_histogram("Regions over the run", about, since, np.linspace(0, since.max(), BARS + 1), "s"))
    if confidence.size:
        about = f"Mean probability of a caption's tokens. The median is {100 * float(np.median(confidence)):.0f} %."
        drawn.append(_histogram("Confidence", about, 100 * confidence, np.linspace(0, 100, 20 + 1), "%"))
    if tokens.size:
        about = f"Tokens of a caption. The mean is {float(tokens.mean()):.1f}."
        edges = np.linspace(0, max(1.0, float(tokens.max()) + 1), min(BARS, int(tokens.max()) + 1) + 1)
        drawn.append(_histogram("Length", about, tokens, edges, "tokens"))
    return drawn


def _histogram(title: str, about: str, values: NDArray[np.float64], edges: NDArray[np.float64], unit: str) -> Chart:
    """Values beyond the last edge are counted in the last bar."""
    counts, _ = np.histogram(np.minimum(values, edges[-1]), edges)
    most = max(1, int(counts.max()))
    bars = [
        Bar(f"{_number(low)} to {_number(high)} {unit}", f"{count:,}", int(count) / most)
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    beyond = "+" if values.max() > edges[-1] else ""
    middle = (edges[0] + edges[-1]) / 2
    axis = (_number(edges[0]), _number(middle), f"{_number(edges[-1])}{beyond} {unit}")
    return Chart(title, about, bars, axis)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 or value == round(value) else f"{value:.1f}"


def _once(numbers: pa.Table, group: str, column: str) -> float:
    """Sum of a column whose value stands in every row of a group."""
    first: dict[Any, float] = {}
    for name, value in zip(numbers[group].to_pylist(), numbers[column].to_pylist(), strict=True):
        if name is not None and value is not None:
            first.setdefault(name, value)
    return sum(first.values())


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """NaN where there is nothing."""
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _known(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.drop_null().cast(pa.float64()).to_numpy(), dtype=np.float64)
