"""Results to a document: what is compared, how it is read, and that the committed document is up to date."""

import json
import re

import pytest

from pdlm_cli.ablations.document import (
    NO_READING,
    read_collected,
    read_reading,
    render,
    table_of,
    verdict,
    write_document,
)
from pdlm_cli.ablations.plots import PLOTS, draw_plots, known_plots
from pdlm_cli.ablations.results import Difference, Table, read_results, write_result
from pdlm_cli.ablations.variants import SHARED, STANDARD, VARIANTS, Comparison
from pdlm_cli.errors import ConfigError
from tests.ablations.support import all_results, measured, plain, result
from tests.repo.files import ROOT

DOCS = ROOT / "docs"


def test_the_committed_document_is_written_from_the_committed_results():
    reading = read_reading(DOCS / "ablations.md")
    assert (DOCS / "ablations.md").read_text() == render(read_collected(DOCS), reading)


def test_results_are_read_back_as_they_were_written(tmp_path):
    results = all_results(seeds=2)
    for item in results:
        write_result(tmp_path / f"{item.variant}-seed-{item.seed}.json", item)
    assert plain(read_results(tmp_path)) == plain(sorted(results, key=lambda item: (item.seed, item.variant)))
    (tmp_path / "x.json").write_text('{"variant": "x"}')
    with pytest.raises(ConfigError, match="no result of an ablation"):
        read_results(tmp_path)


def test_a_difference_is_of_the_same_pictures():
    """Pictures differ much from each other, and the change is the same for all: its error is none."""
    same = Table(
        [result("reference", {STANDARD: measured(0.6, spread=0.3)}), result("x", {"y": measured(0.5, spread=0.3)})]
    )
    difference = same.difference(("x", "y"), ("reference", STANDARD))
    assert difference.points == pytest.approx(-10)
    assert difference.error == pytest.approx(0, abs=1e-9)
    noisy = Table([result("reference", {STANDARD: measured(0.6)}), result("x", {"y": measured(0.5, spread=0.3)})])
    found = noisy.difference(("x", "y"), ("reference", STANDARD))
    assert found.error == pytest.approx(100 * 0.3 * (10 / 9) ** 0.5 / 10**0.5)
    assert difference.clear and not found.clear


def test_several_seeds_count_by_what_differs_between_them():
    results = [
        result(variant, {STANDARD: measured(avg)}, seed)
        for seed, pair in enumerate([(0.6, 0.5), (0.6, 0.4)])
        for variant, avg in zip(("reference", "x"), pair, strict=True)
    ]
    difference = Table(results).difference(("x", STANDARD), ("reference", STANDARD))
    assert difference.points == pytest.approx(-15)
    assert difference.error == pytest.approx(5)
    assert Table(results[:3]).difference(("x", STANDARD), ("reference", STANDARD)).points == pytest.approx(-10)
    assert Table(results[:1]).difference(("x", STANDARD), ("reference", STANDARD)) is None


@pytest.mark.parametrize(
    ("points", "error", "paper", "said"),
    [
        (-5, 1, (50.3, 53.7), "agrees"),
        (5, 1, (50.3, 53.7), "the other way"),
        (5, 3, (50.3, 53.7), "no difference here"),
        (5, 1, None, ""),
    ],
)
def test_verdicts(points, error, paper, said):
    comparison = Comparison("?", ("a", "b"), ("c", "d"), paper)
    assert verdict(Difference(points, error), comparison) == said
    assert verdict(None, comparison) == ""


def test_nothing_measured_is_a_document_too(tmp_path):
    text = render([], NO_READING)
    assert text.count("not measured yet") > 20
    assert "![" not in text and "## Scores" not in text
    assert draw_plots(Table([])) == {}
    write_document([result("base", {})], tmp_path)
    assert "![" not in (tmp_path / "ablations.md").read_text()


def test_a_document_of_all_results(tmp_path):
    document = write_document(all_results(), tmp_path)
    text = document.read_text()
    assert "not measured yet" not in text
    for variant in VARIANTS:
        assert f"| {variant.title} |" in text
    assert "-52.6 (53.7 to 1.1)" in text
    assert "- Vision trained too (-27.0, in the paper -3.4)" in text
    assert "A red / star." in text  # a bar would end the cell
    linked = re.findall(r"\]\((ablations/[^)]+)\)", text)
    assert sorted(linked) == sorted(["ablations/results.json", *(f"ablations/{name}.svg" for name in PLOTS)])
    assert all((tmp_path / link).exists() for link in linked)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert max(len(line) for line in text.splitlines() if not line.startswith(("|", "!"))) <= 120


def test_some_results_are_enough():
    some = [item for item in all_results() if item.variant in ("no-roi", "released-roi")]
    assert "no RoI replay" in render(some, NO_READING)
    assert known_plots(Table(some)) == ["parts"]
    assert table_of(some).row_count == len(VARIANTS)


def test_plots_are_the_same_bytes_every_time():
    table = Table(all_results())
    assert draw_plots(table) == draw_plots(table)


def test_what_is_written_by_hand_stays(tmp_path):
    document = write_document([], tmp_path)
    document.write_text(document.read_text().replace(NO_READING, "It works.\n\nMostly."))
    write_document(all_results(), tmp_path)
    assert read_reading(document) == "It works.\n\nMostly."
    assert len(json.loads((tmp_path / "ablations" / "results.json").read_text())) == len(SHARED) + len(VARIANTS)
    document.write_text("# Something else\n")
    with pytest.raises(ConfigError, match="move it away"):
        write_document([], tmp_path)
