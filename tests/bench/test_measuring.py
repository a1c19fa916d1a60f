"""Cases are measured in turn, warm-up left out; points survive Parquet; differences are told from noise."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from pdlm_cli.bench import comparison, machine
from pdlm_cli.bench.comparison import compare, compare_points
from pdlm_cli.bench.contenders import Outcome
from pdlm_cli.bench.long_run import AXIS
from pdlm_cli.bench.points import Point, points_bytes, read_points
from pdlm_cli.bench.roofline import Phase
from pdlm_cli.bench.scene_steps import SceneSteps
from pdlm_cli.bench.table import rich_table, target_rows, terminal_table
from pdlm_cli.bench.targets import CPU_TARGETS, Target, Verdict, verdict
from pdlm_cli.bench.timing import Case, measure
from pdlm_cli.bench.usage import Meter
from pdlm_cli.bench.verdicts import judge
from pdlm_cli.errors import InputError
from tests.bench.support import RATES, long_run_points, point


class Counter:
    def __init__(self) -> None:
        self.done = 0

    def __enter__(self) -> "Counter":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, items: int) -> None:
        self.done += items


def test_cases_take_turns_and_warm_up_is_left_out() -> None:
    ran: list[str] = []

    def case(name: str, measured: float = 1.0) -> Case:
        def run() -> Outcome:
            ran.append(name)
            return Outcome(float(len(ran)), 0.5, 4, measured)

        return Case(name, "steps", 4, 2, 8, run, lambda steps: [Phase("all", 1e9 * steps, 0)])

    progress = Counter()
    points = measure(
        "x",
        [case("a"), case("b", 0.25)],
        repeats=3,
        warmup=1,
        meter=Meter(torch.device("cpu")),
        rates=RATES,
        progress=progress,
    )
    assert ran == ["a", "b", *"ab", *"ba", *"ab"]
    assert [own.seconds for own in points] == [(3, 6, 7), (4, 5, 8)]
    assert progress.done == len(ran)
    whole, part = points
    assert whole.flop == 4e9
    assert whole.of_roofline == whole.of_matrix_rate == 4 / 6
    assert whole.of_bandwidth == 0
    assert whole.cpu_seconds is not None and part.cpu_seconds is None  # of which only a part was run
    assert part.note.startswith("25 % of the work was run")


def test_a_machine_is_asked_until_it_has_had_time_to_reach_its_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    clock = iter(range(1000))
    monkeypatch.setattr(machine, "now", lambda device: 0.01 * next(clock))
    assert machine._fastest(lambda: asked.append(0), torch.device("cpu")) == pytest.approx(0.01)
    assert len(asked) == pytest.approx(1 + machine.LEAST_S / 0.01, abs=1)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_table_leaves_columns_out_before_it_cuts_a_number(width: int) -> None:
    known = {"images": 8, "of_roofline": 0.5, "planned_bytes": 4 * 10**9, "peak_rss_bytes": 5 * 10**9, "joules": 1e4}
    points = [replace(point("sequential", value), measured=0.17, **known) for value in (1, 12)]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(terminal_table("memory, by passes a batch", points, console.width))
    shown = console.export_text()
    assert "…" not in shown
    assert "plan MB" in shown and "5,000" in shown
    assert ("p99" in shown) == (width == 200)


def test_targets_and_differences_fit_into_a_terminal_without_cutting_words() -> None:
    verdicts = judge(measured(), SceneSteps(7.4, 91.0, 91.2, 91.0, 100), [20.0], on_gpu=False)
    heads, rows = target_rows({"targets": [own.to_json() for own in verdicts]})
    changed = compare_points([point("sequential", seconds=(0.1, 0.9))], [point("sequential", seconds=(0.9, 0.1))])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(rich_table("Targets", heads[:-1], [row[:-1] for row in rows]))
    console.print(rich_table("a against b", *comparison._rows(changed)))
    shown = console.export_text()
    assert "…" not in shown
    for words in ("preparation", "checkpoint", "± 486.5 %", "within noise"):
        assert words in shown


def test_differences_of_several_axes_say_which() -> None:
    points = [point(), point("whole", 8, axis="stage")]
    heads, rows = comparison._rows(compare_points(points, points))
    assert (heads[0], [row[0] for row in rows]) == ("where", ["regions a picture 1", "stage 8"])
    assert comparison._rows(compare_points(points[:1], points))[0][0] == "regions a picture"


def test_points_come_back_from_parquet_as_they_were(tmp_path: Path) -> None:
    points = [point(), point("ar", 2, joules=3.5, peak_rss_bytes=10, note="said")]
    (tmp_path / "results.parquet").write_bytes(points_bytes(points, {"pdlm.bench_facts": "{}"}))
    for path in (tmp_path, tmp_path / "results.parquet"):
        assert read_points(path) == (points, {"pdlm.bench_facts": "{}", "pdlm.bench_version": "1"})
    schema = pq.read_schema(tmp_path / "results.parquet")
    assert schema.field("joules").metadata == {b"unit": b"J"}
    assert set(schema.names) == set(asdict(points[0]))


def test_what_is_no_measurement_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "results.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="pdlm bench"):
        read_points(tmp_path)
    with pytest.raises(InputError, match="pdlm bench"):
        read_points(tmp_path / "nothing.parquet")


def test_quantiles_and_rates_are_of_the_repeats() -> None:
    own = point(seconds=(1.0, 2.0, 3.0), regions=6, tokens=60, joules=12.0)
    assert (own.median, own.p90, own.p99, own.spread) == (2.0, pytest.approx(2.8), pytest.approx(2.98), 0.5)
    assert replace(own, images=4).seconds_per_image == 0.5
    assert (own.regions_per_second, own.tokens_per_second, own.joules_per_caption) == (3.0, 30.0, 2.0)


def test_columns_of_a_later_version_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "results.parquet"
    file.write_bytes(points_bytes([point()], {"pdlm.bench_facts": "{}"}))
    table = pq.read_table(file)
    pq.write_table(table.append_column("news", [["?"]]), file)
    assert read_points(file)[0] == [point()]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((1.0, 1.1, 0.9), (1.02, 1.12, 0.93), "within noise"),
        ((1.0, 1.01, 0.99), (2.0, 2.01, 1.99), "slower"),
        ((1.0, 1.01, 0.99), (0.5, 0.51, 0.49), "faster"),
        ((1.0, 1.0), (1.1, 1.1), "slower"),
        ((1.0,), (2.0, 2.0), "measured once: noise unknown"),
        ((0.0, 0.0), (0.1, 0.1), "took no time in A"),
    ],
)
def test_differences_are_told_from_noise(before: tuple[float, ...], after: tuple[float, ...], expected: str) -> None:
    [found] = compare_points([point(seconds=before), point("ar")], [point(seconds=after), point("released")])
    assert found.verdict == expected


def test_noise_is_that_of_welch() -> None:
    [found] = compare_points([point(seconds=(9.0, 10.0, 11.0))], [point(seconds=(11.0, 12.0, 13.0))])
    # Variances of 1 from three each: four degrees of freedom, t = 2.78
    assert found.change == pytest.approx(0.2)
    assert found.noise == pytest.approx(2.78 * (2 / 3) ** 0.5 / 10)


def test_settings_that_differ_are_said_and_what_only_one_tells_is_not(tmp_path: Path) -> None:
    facts = {"flop_per_second": 1e9, "quantize": "none", "length": 32, "torch": "2.13.0"}
    for name, more in (("a", {}), ("b", {"quantize": "int8", "length": 16, "numpy": "2.4"})):
        content = points_bytes([point(seconds=(0.0, 0.0))], {"pdlm.bench_facts": json.dumps({**facts, **more})})
        (tmp_path / name).write_bytes(content)
    found = json.loads(compare(tmp_path / "a", tmp_path / "b", "plain"))
    assert found["notes"] == ["quantize was none in A and is int8 in B", "length was 32 in A and is 16 in B"]
    assert found["differences"][0]["change"] is None


def test_other_regions_and_other_parts_of_the_work_are_said(tmp_path: Path) -> None:
    """A step of six regions is not a step of three that has become slow."""
    facts = {"flop_per_second": 1e9, "part_steps": None, "part_regions": 1}
    for name, more in (("a", {"regions": 3}), ("b", {"regions": 6, "part_steps": 2})):
        content = points_bytes([point()], {"pdlm.bench_facts": json.dumps({**facts, **more})})
        (tmp_path / name).write_bytes(content)
    found = json.loads(compare(tmp_path / "a", tmp_path / "b", "plain"))
    assert found["notes"] == ["regions was 3 in A and is 6 in B", "part_steps was None in A and is 2 in B"]


def test_a_target_is_reached_or_so_far_away() -> None:
    least, most = Target("a", "", 10, "x", True, "cpu"), Target("b", "", 2, "x", False, "cpu")
    assert verdict(least, [12.0, 11.0, 10.5]).distance == "✓"
    assert verdict(least, [5.0, 4.0, 6.0]).distance == "2.00x short"
    assert verdict(most, [1.0]).distance == "✓"
    assert verdict(most, [3.0, 5.0]).distance == "2.00x too much"
    assert verdict(most, [2.004]).distance == "just too much"
    assert Verdict(replace(least, where="cuda"), None, None, None, "").distance == "needs a GPU"


RUN = {"start": 3.0, "whole": 2.0}


def measured(steps: float = 8) -> list[Point]:
    seconds = {
        "pdlm": 2.0,
        "sequential": 8.0,
        "delayed": 1.6,
        "sequential delayed": 4.0,
        "adaptive": 1.0,
        "ar": 4.0,
        "uncached": 10.0,
        "released": 30.0,
    }
    shares = {"pdlm": 0.5, "sequential": 0.375, "ar": 0.5}
    pictures = [
        point(name, 6, (own, own), encode_seconds=0.5, of_roofline=shares.get(name)) for name, own in seconds.items()
    ]
    start, whole = (point(name, 0, (seconds,), bench="e2e", axis="stage", regions=50) for name, seconds in RUN.items())
    singles = [point("pdlm", 1, (1.0, 1.0)), point("delayed", 1, (0.8, 0.8))]
    return [*pictures, *singles, start, whole, *long_run_points(100, 105)]


def test_targets_are_ratios_of_one_run() -> None:
    verdicts = judge(measured(), SceneSteps(7.4, 91.0, 91.2, 91.0, 100), [20.0], on_gpu=False)
    figures = {own.target.name: own.figure for own in verdicts if own.target.where == "cpu"}
    assert figures == {
        "cache": 15,
        "adaptive": 30,
        "one pass": 4,
        "growth": 2,
        "ar": 2,
        "one pass delayed": 2.5,
        "growth delayed": 2,
        "ar delayed": 2.5,
        "ar adaptive": 4,
        "preparation": 20,
        "small checkpoint": 25,
        "memory": 1.05,
    }
    short = ["1.25x short", "1.20x short"]
    assert [own.distance for own in verdicts] == [*["✓"] * 4, *short, *["✓"] * 6, *["needs a GPU"] * 7]
    assert len(CPU_TARGETS) == 12
    notes = {own.target.name: own.note for own in verdicts if own.figure is not None}
    assert notes["one pass"] == "3.00x by operations and bytes alone"
    assert notes["ar"] == "2.00x by operations and bytes alone"
    assert notes["ar delayed"] == "the score loses 0.20 points"
    assert notes["small checkpoint"] == "start left out; with it 10 regions/s in a run of 50 regions"
    assert notes["growth"] == ""  # of one region the share is not known


def test_on_a_gpu_its_own_targets_are_judged_and_those_of_the_cpu_only_where_they_are_of_it() -> None:
    load = [
        point("paradlc", 103, (20.0, 22.0), axis="passes", of_roofline=0.6),
        point("paradlc, ten steps", 103, (15.4,), axis="passes"),
    ]
    verdicts = judge([*measured(), *load], SceneSteps(7.4, 91.0, 91.2, 91.0, 100), [20.0], on_gpu=True)
    found = {(own.target.name, own.target.where): own.distance for own in verdicts}
    assert found["paradlc", "cuda"] == found["paradlc roofline", "cuda"] == "✓"
    assert found["paradlc adaptive", "cuda"] == "1.10x too much"
    assert found["growth", "cuda"] == "1.43x too much"
    assert found["cache", "cpu"] == "not measured"
    assert found["memory", "cpu"] == "✓"


def test_memory_that_nobody_can_say_is_not_judged() -> None:
    points = [own for own in measured() if own.axis != AXIS]
    verdicts = judge(
        [*points, *long_run_points(None, None)], SceneSteps(7.4, 91.0, 91.2, 91.0, 100), [20.0], on_gpu=False
    )
    [found] = [own for own in verdicts if own.target.name == "memory"]
    assert (found.distance, found.figure) == ("not measured", None)
    assert "does not say" in found.note


@pytest.mark.parametrize(
    ("steps", "way"),
    [(SceneSteps(7.4, 90.0, 91.2, 91.0, 100), "adaptive"), (SceneSteps(7.4, 91.0, 91.2, 90.0, 100), "delayed")],
)
def test_a_faster_way_counts_only_while_the_score_stays(steps: SceneSteps, way: str) -> None:
    verdicts = [own for own in judge(measured(), steps, [20.0], on_gpu=False) if own.target.where == "cpu"]
    unjudged = {own.target.name for own in verdicts if own.figure is None}
    assert unjudged == {own.target.name for own in verdicts if way in own.target.name}
    assert len(unjudged) in (2, 3)
    assert all("1.20 points" in own.note for own in verdicts if own.figure is None)


def test_a_file_that_cannot_be_compared_is_named_once(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_text("no Parquet")
    for file, said in ((tmp_path / "results.parquet", "there is no"), (broken, "magic bytes not found")):
        with pytest.raises(InputError, match=said) as caught:
            read_points(file)
        assert str(caught.value).count(str(file)) == 1
