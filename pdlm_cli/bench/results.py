"""The folder of a measurement: a table, charts, a page, and the same as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from pdlm_cli.atomic import write_atomic
from pdlm_cli.bench.charts import Chart, charts_of
from pdlm_cli.bench.page import Section, render
from pdlm_cli.bench.points import Point, points_bytes
from pdlm_cli.bench.table import notes, part_rows, point_rows, target_rows
from pdlm_cli.errors import OutputError

SAID = ("measured_at", "model", "vocabulary", "cpu", "cores", "device", "dtype", "torch", "pdlm", "scene_steps")
SHOWN = (
    *("median", "p90", "p99", "spread", "seconds_per_image"),
    *("regions_per_second", "tokens_per_second", "joules_per_caption"),
)


@dataclass(frozen=True)
class Results:
    """title: of the measurement. facts: what was measured, on what, and by whom. notes: what a reader must know."""

    bench: str
    title: str
    points: Sequence[Point]
    facts: Mapping[str, Any]
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        rows = [
            {**asdict(point), "seconds": list(point.seconds), **{name: getattr(point, name) for name in SHOWN}}
            for point in self.points
        ]
        return {"bench": self.bench, "facts": dict(self.facts), "notes": list(self.notes), "points": rows}

    @property
    def sections(self) -> list[Section]:
        found = [Section(self.title_of(own), *point_rows(own)) for own in self.by_measurement()]
        if "targets" in self.facts:
            first = (
                Section("Targets", *target_rows(self.facts)),
                Section("What each part contributes", *part_rows(self.facts)),
            )
            return [*first, *found]
        return found

    def by_measurement(self) -> list[list[Point]]:
        """Points that belong in one table."""
        return [list(own) for _, own in groupby(self.points, key=lambda point: (point.bench, point.axis))]

    @staticmethod
    def title_of(points: Sequence[Point]) -> str:
        return f"{points[0].bench}, by {points[0].axis}"


def results_of(
    bench: str, title: str, points: Sequence[Point], facts: Mapping[str, Any], more: Sequence[str]
) -> Results:
    """more: notes besides those of the points."""
    said = [*more, *notes(points)]
    known = {point.note for point in points}
    for verdict in facts.get("targets", ()):
        if verdict["note"] not in known | {""}:
            said.append(f"target {verdict['target']['name']}: {verdict['note']}")
    if any(point.measured < 1 for point in points):
        said.append("A * marks what was run in part: seconds are of the whole work.")
    stamped = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), **facts}
    return Results(bench, title, points, stamped, said)


def write_results(results: Results, output: Path, *, plots: bool) -> list[Path]:
    """Replace what an earlier measurement has left in `output`. plots: charts too. Raises OutputError."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {output}: {error.strerror}") from error
    charts = [chart for own in results.by_measurement() for chart in _charts(own, results)] if plots else []
    pictures: dict[str, bytes] = {}
    drawn: list[tuple[Chart, str]] = []
    if charts:
        from pdlm_cli.bench.drawing import draw

        for chart in charts:
            pictures[f"{chart.name}.png"] = draw(chart, "png")
            drawn.append((chart, draw(chart, "svg").decode()))
    files = {
        "results.parquet": points_bytes(results.points, {"pdlm.bench_facts": json.dumps(results.facts)}),
        "results.md": markdown(results, [chart for chart, _ in drawn]).encode(),
        "results.json": (json.dumps(results.to_json(), indent=2) + "\n").encode(),
        "index.html": render(results.title, results.facts, results.notes, drawn, results.sections),
        **pictures,
    }
    for name, content in files.items():
        write_atomic(output / name, content)
    return [output / name for name in files]


def markdown(results: Results, charts: Sequence[Chart]) -> str:
    """The tables, notes and charts of the folder, for who reads it beside the code."""
    lines = [f"# {results.title}", "", *(f"- {note}" for note in results.notes), ""]
    lines += [f"- {name.replace('_', ' ')}: {results.facts[name]}" for name in SAID if name in results.facts]
    for section in results.sections:
        lines += ["", f"## {section.title}", "", _row(section.heads), _row(["---"] * len(section.heads))]
        lines += [_row(row) for row in section.rows]
    lines += ["", *(f"![{chart.title}]({chart.name}.png)" for chart in charts)]
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _charts(points: Sequence[Point], results: Results) -> list[Chart]:
    if "targets" not in results.facts:
        return charts_of(points, {})
    # Of all that the targets are judged by, only the verdicts are drawn, once.
    return charts_of(points, dict(results.facts)) if points[0] is results.points[0] else []
