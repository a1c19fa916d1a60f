"""Points as rows of text, for the terminal and the page."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

from pdlm_cli.bench.points import Point

Cell = Callable[[Point], str | None]


def _number(value: float | None, unit: float = 1.0) -> str | None:
    """About three digits."""
    if value is None:
        return None
    scaled = value / unit
    return f"{scaled:,.0f}" if abs(scaled) >= 100 else f"{scaled:.3g}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2g}%" if value < 1 else f"{100 * value:.0f}%"


COLUMNS: Mapping[str, Cell] = {
    "seconds": lambda own: _number(own.median),
    "±": lambda own: _percent(own.spread) if len(own.seconds) > 1 else None,
    "p90": lambda own: _number(own.p90) if len(own.seconds) > 1 else None,
    "p99": lambda own: _number(own.p99) if len(own.seconds) > 1 else None,
    "s an image": lambda own: _number(own.seconds_per_image) if own.images > 1 else None,
    "vision s": lambda own: _number(own.encode_seconds),
    "regions/s": lambda own: _number(own.regions_per_second) if own.regions else None,
    "tokens/s": lambda own: _number(own.tokens_per_second) if own.tokens else None,
    "steps": lambda own: _number(own.steps),
    "of roofline": lambda own: _percent(own.of_roofline),
    "of matrix rate": lambda own: _percent(own.of_matrix_rate),
    "of bandwidth": lambda own: _percent(own.of_bandwidth),
    "TFLOP": lambda own: _number(own.flop, 1e12),
    "CPU s": lambda own: _number(own.cpu_seconds),
    "RSS MB": lambda own: _number(own.peak_rss_bytes, 1e6),
    "device MB": lambda own: _number(own.peak_device_bytes, 1e6),
    "planned MB": lambda own: _number(own.planned_bytes, 1e6),
    "J a caption": lambda own: _number(own.joules_per_caption),
    "W": lambda own: _number(own.watts),
    "GPU use": lambda own: _percent(own.utilization),
    "GPU MB": lambda own: _number(own.peak_gpu_bytes, 1e6),
    "SM MHz": lambda own: _number(own.sm_mhz),
    "memory MHz": lambda own: _number(own.memory_mhz),
    "run": lambda own: _percent(own.measured) if own.measured < 1 else None,
}
# With shorter heads.
TERMINAL = {
    "seconds": "s",
    "±": "±",
    "p90": "p90",
    "p99": "p99",
    "s an image": "s/image",
    "regions/s": "reg/s",
    "tokens/s": "tok/s",
    "of roofline": "roof",
    "planned MB": "plan MB",
    "RSS MB": "RSS MB",
    "J a caption": "J/caption",
}
LEFT_OUT = ("p99", "tokens/s", "p90", "s an image", "±", "of roofline", "RSS MB")  # in turn, where there is no room


def point_rows(points: Sequence[Point], heads: Mapping[str, str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Heads and cells, without columns that nobody has anything in. heads: of the columns to be shown, all if None."""
    axis = points[0].axis
    heads = heads or {name: name for name in COLUMNS}
    cells = {name: [COLUMNS[name](point) for point in points] for name in heads}
    shown = [name for name in heads if any(cell is not None for cell in cells[name])]
    titles = [heads[name] for name in shown]
    rows = [
        [f"{point.value:g}", _named(point), *(cells[name][place] or "" for name in shown)]
        for place, point in enumerate(points)
    ]
    if axis == "stage":  # whose numbers only order them
        return ["stage", *titles], [[point.contender, *row[2:]] for point, row in zip(points, rows, strict=True)]
    return [axis if len(heads) == len(COLUMNS) else axis.split()[0], "", *titles], rows


def terminal_table(title: str, points: Sequence[Point], width: int) -> Table:
    """In a terminal of that width, without as many of LEFT_OUT as there is no room for: numbers are never cut."""
    heads = dict(TERMINAL)
    for name in LEFT_OUT:
        table = rich_table(title, *point_rows(points, heads))
        if _width(table) <= width:
            break
        heads.pop(name)
    return rich_table(title, *point_rows(points, heads))


def _width(table: Table) -> int:
    """Of all its columns in full."""
    console = Console(width=1000)
    return Measurement.get(console, console.options, table).maximum


def target_rows(facts: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    heads = ["target", "on", "asked", "found", "", "of repeats", "what it is"]
    rows = []
    for own in facts["targets"]:
        target = own["target"]
        sign = "≥" if target["atleast"] else "≤"
        unit = target["unit"] if target["unit"] == "x" else f" {target['unit']}"
        found = "" if own["figure"] is None else f"{_number(own['figure'])}{unit}"
        spread = "" if own["figure"] is None else f"{_number(own['low'])} to {_number(own['high'])}"
        asked = f"{sign} {target['goal']:g}{unit}"
        rows.append([target["name"], target["where"], asked, found, own["distance"], spread, target["says"]])
    return heads, rows


def part_rows(facts: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    heads = ["part", "what it is", "times faster", "vision left out"]
    return heads, [
        [own["part"], own["says"], f"{own['times']:.2f}x", f"{own['times_without_vision']:.2f}x"]
        for own in facts["parts"]
    ]


def notes(points: Sequence[Point]) -> list[str]:
    """What must be known of points, said once for all that it holds for."""
    found: dict[str, list[str]] = {}
    for point in points:
        if point.note:
            found.setdefault(point.note, []).append(_named(point))
    return [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in found.items()]


def rich_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Words to the left, numbers to the right. Lines are broken between words alone."""
    columns = []
    for place, head in enumerate(heads):
        cells = [row[place] for row in rows]
        left = not any(char.isdigit() for cell in cells for char in cell.removeprefix("± ")[:2])
        longest = max((len(word) for cell in (head, *cells) for word in cell.split()), default=0)
        columns.append(
            Column(head, justify="left" if left else "right", no_wrap=not left or len(head) < 3, min_width=longest)
        )
    table = Table(*columns, title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table


def _named(point: Point) -> str:
    return point.contender if point.measured == 1 else f"{point.contender} *"
