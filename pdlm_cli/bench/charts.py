"""What is drawn of the points of each measurement: the shapes of the paper's Figure 1, and the rest alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pdlm_cli.bench.points import Point

NAMES = {
    "pdlm": "pdlm",
    "sequential": "one region at a time",
    "released": "published loop",
    "ar": "left to right",
    "uncached": "no cache",
}


@dataclass(frozen=True)
class Series:
    """One line or set of bars. places: numbers, or names of bars. low, high: of the repeats."""

    label: str
    places: list[float] | list[str]
    values: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Chart:
    """name: of its file. kind: lines, or bars lying on their side. goal: of bars that are to be compared with it."""

    name: str
    title: str
    axis: str
    shows: str
    kind: str
    series: list[Series] = field(default_factory=list)
    goal: float | None = None


def charts_of(points: Sequence[Point], facts: dict[str, object]) -> list[Chart]:
    """points: of one measurement."""
    bench = points[0].bench if not facts.get("targets") else "targets"
    axis = points[0].axis
    if bench == "throughput":
        return [
            _lines(points, "throughput", "Regions a second", axis, "regions/s", _rate),
            _lines(points, "latency", "Time of a picture", axis, "seconds", _seconds),
        ]
    if bench == "parallelism":
        return [_lines(points, "parallelism", "Time of a picture with four masks", axis, "seconds a picture", _seconds)]
    if bench in ("steps", "length"):
        words = {"steps": "denoising steps", "length": "slots of a caption"}[bench]
        return [_lines(points, bench, f"Time of a picture over {words}", words, "seconds", _seconds)]
    if bench == "memory":
        return [_memory(points)]
    if bench == "targets":
        return [_targets(facts)]
    return [_stages(points)]


def _rate(point: Point) -> tuple[float, ...]:
    return tuple(point.regions / seconds for seconds in point.seconds)


def _seconds(point: Point) -> tuple[float, ...]:
    return point.seconds


def _lines(
    points: Sequence[Point],
    name: str,
    title: str,
    axis: str,
    shows: str,
    of: Callable[[Point], tuple[float, ...]],
) -> Chart:
    series = []
    for contender in dict.fromkeys(point.contender for point in points):
        own = sorted((point for point in points if point.contender == contender), key=lambda point: point.value)
        samples = [sorted(of(point)) for point in own]
        series.append(
            Series(
                NAMES.get(contender, contender),
                [point.value for point in own],
                [_median(values) for values in samples],
                [values[0] for values in samples],
                [values[-1] for values in samples],
            )
        )
    return Chart(name, title, axis, shows, "lines", series)


def _memory(points: Sequence[Point]) -> Chart:
    def line(label: str, of: Callable[[Point], int | None]) -> Series:
        values = [(of(point) or 0) / 1e9 for point in points]
        return Series(label, [point.value for point in points], values, values, values)

    on_gpu = points[0].peak_device_bytes is not None
    held = line("held at most", lambda point: point.peak_device_bytes if on_gpu else point.peak_rss_bytes)
    planned = line("planned for", lambda point: point.planned_bytes)
    return Chart("memory", "Memory over passes a batch", points[0].axis, "GB", "lines", [held, planned])


def _stages(points: Sequence[Point]) -> Chart:
    names = [point.contender for point in points]
    medians = [point.median for point in points]
    low, high = ([limit(point.seconds) for point in points] for limit in (min, max))
    bench = points[0].bench
    title = {"load": "From nothing to the first caption", "e2e": "A run by stages"}[bench]
    return Chart(bench, title, "seconds", "", "bars", [Series(bench, names, medians, low, high)])


def _targets(facts: dict[str, object]) -> Chart:
    """How far each target is reached: 1 is reached."""
    names, values = [], []
    targets = facts["targets"]
    assert isinstance(targets, list)
    for found in targets:
        if found["figure"] is not None:
            goal = found["target"]["goal"]
            names.append(found["target"]["name"])
            values.append(found["figure"] / goal if found["target"]["atleast"] else goal / found["figure"])
    series = Series("reached", names, values, values, values)
    return Chart("targets", "Targets", "times what is asked for", "", "bars", [series], goal=1.0)


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
