"""Charts as PNG and SVG, by matplotlib; the same chart gives the same bytes."""

import io
from typing import Any

from pdlm_cli.bench.charts import Chart

COLORS = ("#1f5fa8", "#d07a1c", "#8a5aa8", "#2f8a83", "#a3281f")
MARKS = "osD^v"
SOFT, SHORT = "#5b5f66", "#d07a1c"


def draw(chart: Chart, form: str) -> bytes:
    """form: png or svg."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "svg.hashsalt": "pdlm",
        "svg.fonttype": "none",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#b8bbb9",
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "xtick.color": SOFT,
        "ytick.color": SOFT,
    }
    with matplotlib.rc_context(style):
        bars = chart.kind == "bars"
        height = 1.1 + 0.36 * len(chart.series[0].places) if bars else 3.6
        width = 6.4 if len(chart.series) == 1 else 7.6  # with room for who is who
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(chart.title)
        axes.set_xlabel(chart.axis)
        (_bars if bars else _lines)(axes, chart)
        sink = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(sink, format=form, dpi=160, metadata=metadata)
    return sink.getvalue()


def _lines(axes: Any, chart: Chart) -> None:
    axes.set_ylabel(chart.shows)
    axes.grid(axis="y", color="#e6e7e4", linewidth=0.8)
    places = sorted({place for series in chart.series for place in series.places})
    for number, series in enumerate(chart.series):
        color = COLORS[number % len(COLORS)]
        away = [
            [value - low for value, low in zip(series.values, series.low, strict=True)],
            [high - value for value, high in zip(series.values, series.high, strict=True)],
        ]
        axes.errorbar(
            series.places,
            series.values,
            yerr=away,
            color=color,
            marker=MARKS[number % len(MARKS)],
            markersize=5,
            linewidth=2 if number == 0 else 1.4,
            capsize=2.5,
            elinewidth=0.9,
            label=series.label,
        )
    axes.set_xticks(places, [f"{place:g}" for place in places])
    lowest = min(value for series in chart.series for value in series.values)
    highest = max(value for series in chart.series for value in series.high)
    if lowest > 0 and highest / lowest > 20:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # not powers of ten
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.06 * highest)  # with room for the marks of the highest
    if len(chart.series) > 1:
        axes.figure.legend(loc="outside right upper", frameon=False, fontsize=9)  # where no line can lie behind it


def _bars(axes: Any, chart: Chart) -> None:
    [series] = chart.series
    places = range(len(series.places))
    short = [chart.goal is not None and value < chart.goal for value in series.values]
    away = [
        [value - low for value, low in zip(series.values, series.low, strict=True)],
        [high - value for value, high in zip(series.values, series.high, strict=True)],
    ]
    axes.barh(places, series.values, 0.66, xerr=away, ecolor=SOFT, color=[SHORT if own else COLORS[0] for own in short])
    most = max(series.high)
    for place, value, high in zip(places, series.values, series.high, strict=True):
        number = f"{value:.3g}" if value < 10 else f"{value:.0f}"
        over = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # a goal that stands behind it
        axes.text(high + 0.012 * most, place, number, va="center", fontsize=9, bbox=over)
    axes.set_yticks(list(places), series.places)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.1 * most)
    axes.invert_yaxis()
    if chart.goal is not None:
        axes.axvline(chart.goal, color="black", linewidth=1, linestyle="--")
