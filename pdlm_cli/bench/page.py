"""A measurement as one page that needs no other file and lets nothing else in."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pdlm_cli.bench.charts import Chart
from pdlm_cli.html_page import inline, template

SIZES = {"parameters", "decoder_parameters", "vision_parameters", "vocabulary"}
LISTED = ("targets", "parts")  # which have tables of their own


@dataclass(frozen=True)
class Section:
    """A table."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def render(
    title: str,
    facts: Mapping[str, Any],
    notes: Sequence[str],
    charts: Sequence[tuple[Chart, str]],
    sections: Sequence[Section],
) -> bytes:
    """charts: with their SVG."""
    page = template("bench").render(
        title=title,
        facts=[(name.replace("_", " "), _shown(name, value)) for name, value in facts.items() if name not in LISTED],
        notes=notes,
        charts=[
            (chart, "data:image/svg+xml;base64," + base64.b64encode(_plain(svg)).decode()) for chart, svg in charts
        ],
        sections=sections,
        style=inline("bench", "page.css"),
    )
    return page.encode()


def _plain(svg: str) -> bytes:
    """Without the metadata, which names addresses that nobody is to look up."""
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL).encode()


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "flop_per_second":
        return f"{value / 1e9:,.0f} GFLOP/s, measured"
    if name == "bytes_per_second":
        return f"{value / 1e9:,.1f} GB/s, measured"
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {own}" for key, own in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if name in SIZES or "bytes" in name else str(value)
