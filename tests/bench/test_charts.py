"""What is written into charts."""

import re

from pdlm_cli.bench.charts import Chart, Series, charts_of
from pdlm_cli.bench.drawing import draw
from tests.bench.support import point


def texts(chart: Chart) -> list[str]:
    """All that is written, in the order of the SVG."""
    return re.findall(r">([^<>\n]+)</(?:text|tspan)>", draw(chart, "svg").decode())


def test_times_of_very_different_length_are_told_in_plain_numbers() -> None:
    points = [point("pdlm", 1, (0.06, 0.07)), point("released", 1, (2.0, 2.1))]
    [_, latency] = charts_of(points, {})
    written = texts(latency)
    assert {"0.1", "0.5", "1", "pdlm", "published loop", "seconds"} <= set(written)
    assert not any("10" in word for word in written)  # no powers of ten


def test_a_target_just_reached_is_told_from_one_just_missed() -> None:
    values = [1.03, 0.97]
    series = Series("reached", ["one", "other"], values, values, values)
    written = texts(Chart("targets", "Targets", "times", "", "bars", [series], goal=1.0))
    assert {"1.03", "0.97", "one", "other"} <= set(written)
