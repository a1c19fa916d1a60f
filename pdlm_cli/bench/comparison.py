"""Two measurements side by side: what differs, and whether it differs by more than its noise."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from pdlm_cli import logs
from pdlm_cli.bench.points import Point, read_points
from pdlm_cli.bench.table import rich_table
from pdlm_cli.errors import InputError

# Two-sided 95 % of Student's t, by degrees of freedom; beyond the last as of a normal distribution.
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
NORMAL = 1.96
COMPARED = (
    *("model", "weights", "parameters", "vocabulary", "attention", "dtype", "quantize", "compiled", "tiles", "regions"),
    *("part_steps", "part_regions"),
    *("steps", "length", "prompt", "sampler", "threshold", "factor", "entropy", "stable", "temperature", "top_p"),
    *("top_k", "cfg_scale", "cache", "workers", "pictures", "cpu", "cores", "threads", "device", "system", "python"),
    *("pdlm", "torch", "cuda", "driver", "transformers", "numpy", "pillow"),
)


@dataclass(frozen=True)
class Difference:
    """change: of B against A, as a share of A, below 0 is faster; None where A took no time, as a stage may. noise:
    half of its 95 % interval, None where a point was measured once and nobody knows."""

    contender: str
    axis: str
    value: float
    before: float
    after: float
    change: float | None
    noise: float | None

    @property
    def verdict(self) -> str:
        if self.change is None:
            return "took no time in A"
        if self.noise is None:
            return "measured once: noise unknown"
        if abs(self.change) <= self.noise:
            return "within noise"
        return "faster" if self.change < 0 else "slower"


def compare_points(before: Sequence[Point], after: Sequence[Point]) -> list[Difference]:
    """Of all points that both have."""
    known = {point.key: point for point in before}
    return [_difference(known[point.key], point) for point in after if point.key in known]


def _difference(before: Point, after: Point) -> Difference:
    first, second = fmean(before.seconds), fmean(after.seconds)
    change, noise = (second / first - 1, _noise(before, after)) if first else (None, None)
    return Difference(before.contender, before.axis, before.value, first, second, change, noise)


def _noise(before: Point, after: Point) -> float | None:
    """By Welch: of the difference of two means, each of its own variance."""
    samples = before.seconds, after.seconds
    if min(len(own) for own in samples) < 2:
        return None
    errors = [variance(own) / len(own) for own in samples]
    if sum(errors) == 0:
        return 0.0
    freedom = sum(errors) ** 2 / sum(error**2 / (len(own) - 1) for error, own in zip(errors, samples, strict=True))
    place = int(freedom) - 1
    student = STUDENT[max(0, place)] if place < len(STUDENT) else NORMAL
    return float(student * sum(errors) ** 0.5 / fmean(before.seconds))


def compare(first: Path, second: Path, log_format: str) -> str:
    """Show the differences and give them as a JSON line. Raises InputError if there is nothing to compare."""
    console, form = logs.configure(log_format)
    (before, one), (after, other) = (read_points(path) for path in (first, second))
    differences = compare_points(before, after)
    if not differences:
        raise InputError(f"{first} and {second} have no point in common: they are of different measurements")
    facts = [json.loads(metadata["pdlm.bench_facts"]) for metadata in (one, other)]
    notes = _notes(facts[0], facts[1], len(differences), max(len(before), len(after)))
    if form != "json":
        console.print(rich_table(f"{first} against {second}", *_rows(differences)))
        for note in notes:
            console.print(note, style="dim", markup=False, highlight=False)
    rows = [{**asdict(own), "verdict": own.verdict} for own in differences]
    return json.dumps({"before": str(first), "after": str(second), "notes": notes, "differences": rows})


def _rows(differences: Sequence[Difference]) -> tuple[list[str], list[list[str]]]:
    axes = {own.axis for own in differences}
    heads = [axes.pop() if len(axes) == 1 else "where", "", "A, s", "B, s", "change", "noise", ""]
    return heads, [
        [
            f"{own.value:g}" if heads[0] == own.axis else f"{own.axis} {own.value:g}",
            own.contender,
            f"{own.before:.4g}",
            f"{own.after:.4g}",
            "" if own.change is None else f"{100 * own.change:+.1f} %",
            "" if own.noise is None else f"± {100 * own.noise:.1f} %",
            own.verdict,
        ]
        for own in differences
    ]


def _notes(before: Mapping[str, Any], after: Mapping[str, Any], common: int, most: int) -> list[str]:
    """What else differs between the two: then it is not the program alone that was compared."""
    said = [name for name in COMPARED if name in before and name in after]  # older versions say less
    changed = [name for name in said if before[name] != after[name]]
    found = [f"{name} was {before[name]} in A and is {after[name]} in B" for name in changed]
    rate = after["flop_per_second"] / before["flop_per_second"] - 1
    if abs(rate) > 0.05:
        found.append(
            f"The machine itself multiplied {100 * abs(rate):.0f} % {'faster' if rate > 0 else 'slower'} in B: so much "
            "of a change may not be the program's"
        )
    if common < most:
        found.append(f"{common} points are in both, of {most}")
    return found
