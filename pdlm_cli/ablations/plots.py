"""Plots of ablations, as SVG; the same results give the same bytes."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pdlm_cli.ablations.results import Table
from pdlm_cli.ablations.variants import CROWDED, GROUPS, REFERENCE, STANDARD, Comparison

HERE, PAPER, TIME = "#2b6ca3", "#c9c9c9", "gray"


@dataclass(frozen=True, slots=True)
class Plot:
    """group: title of the comparisons that it stands under. shows: in words. of: variants and looks, by what is on the
    horizontal axis; those of the comparisons of all groups if None. axis: its label."""

    group: str
    shows: str
    axis: str
    of: dict[int, tuple[str, str]] | None = None


PLOTS = {
    "parts": Plot(
        GROUPS[0].title,
        "Bars: differences of the average score here, with their errors, beside those of the paper",
        "difference of the average score, points",
    ),
    "steps": Plot(
        GROUPS[3].title,
        "Average score, and milliseconds a region, over denoising steps",
        "denoising steps, 16 slots a caption",
        {steps: (REFERENCE, STANDARD if steps == 16 else f"{steps} steps") for steps in (4, 8, 16, 32, 64)},
    ),
    "masks": Plot(
        GROUPS[4].title,
        f"Average score, and milliseconds a region, over masks a pass: pictures of {CROWDED[0]} to {CROWDED[1]} shapes",
        "masks a pass, at most",
        {together: (REFERENCE, f"crowded, {together} a pass") for together in (1, 2, 4)},
    ),
}


def known_plots(table: Table, group: str | None = None) -> list[str]:
    """Names of the plots that there are figures for, of one group or of all."""
    return [name for name, plot in PLOTS.items() if group in (None, plot.group) and _known(plot, table)]


def draw_plots(table: Table) -> dict[str, bytes]:
    """SVG by name."""
    import matplotlib

    # Otherwise ids are random.
    with matplotlib.rc_context({"svg.hashsalt": "pdlm", "font.size": 9, "axes.spines.top": False}):
        return {name: _draw(PLOTS[name], table) for name in known_plots(table)}


def _known(plot: Plot, table: Table) -> bool:
    if plot.of is not None:
        return any(table.looks(key) for key in plot.of.values())
    return bool(_compared(table))


def _compared(table: Table) -> list[Comparison]:
    """Of the parts of the model and of its training: the first three groups."""
    every = [comparison for group in GROUPS[:3] for comparison in group.comparisons]
    return [comparison for comparison in every if table.difference(comparison.changed, comparison.against)]


def _draw(plot: Plot, table: Table) -> bytes:
    from matplotlib.figure import Figure

    rows = _compared(table)
    size = (5.0, 3.0) if plot.of is not None else (8.0, 1.2 + 0.4 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(plot.axis)
    if plot.of is not None:
        _lines(axes, {value: key for value, key in plot.of.items() if table.looks(key)}, table)
    else:
        _bars(axes, rows, table)
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None})
    return sink.getvalue()


def _bars(axes: Any, rows: Sequence[Comparison], table: Table) -> None:
    found = [table.difference(row.changed, row.against) for row in rows]
    points = [difference.points for difference in found if difference]
    errors = [difference.error for difference in found if difference]
    published = [row.paper[0] - row.paper[1] if row.paper else 0.0 for row in rows]
    places = range(len(rows))
    axes.barh([place - 0.19 for place in places], points, 0.36, xerr=errors, color=HERE, label="here")
    axes.barh([place + 0.19 for place in places], published, 0.36, color=PAPER, label="paper")
    axes.set_yticks(list(places), [row.question for row in rows])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.legend(frameon=False)


def _lines(axes: Any, known: dict[int, tuple[str, str]], table: Table) -> None:
    def line(axes: Any, of: Callable[[tuple[str, str]], float | None], style: str, color: str, label: str) -> None:
        axes.plot(list(known), [of(key) for key in known.values()], style, color=color)
        axes.set_ylabel(label, color=color)

    axes.set_xscale("log", base=2)
    axes.set_xticks(list(known), [str(value) for value in known])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    line(axes, lambda key: table.mean(key, "avg"), "o-", HERE, "average score, percent")
    beside = axes.twinx()
    line(beside, table.milliseconds, "s--", TIME, "milliseconds a region")
    beside.set_ylim(bottom=0)
