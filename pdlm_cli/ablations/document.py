"""Results as a document: tables and plots, and what somebody has written about them, which stays."""

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table as RichTable

from pdlm_cli.ablations.plots import PLOTS, draw_plots, known_plots
from pdlm_cli.ablations.results import Difference, Result, Table, result_of
from pdlm_cli.ablations.variants import BASE, GROUPS, REFERENCE, STANDARD, VARIANTS, Comparison, Group
from pdlm_cli.atomic import write_atomic
from pdlm_cli.errors import ConfigError

NAME = "ablations"  # of the document, and of the folder beside it
OPENS, CLOSES = "<!-- written by hand, kept as it is -->", "<!-- end of what is written by hand -->"
NO_READING = "Nothing has been written about these figures yet."
SCORES = ("avg", "pos", "neg", "exact")
VERDICTS = {
    "agrees": "The same direction as in the paper",
    "the other way": "The other direction",
    "no difference here": "No clear difference here",
}


def write_document(results: Sequence[Result], folder: Path) -> Path:
    """Write `folder`/ablations.md, with plots and results.json in `folder`/ablations/. Raises ConfigError if the
    document that lies there is not one of ours."""
    document, beside = folder / f"{NAME}.md", folder / NAME
    reading = read_reading(document)
    beside.mkdir(parents=True, exist_ok=True)
    for name, data in draw_plots(Table(results)).items():
        write_atomic(beside / f"{name}.svg", data)
    write_atomic(beside / "results.json", (json.dumps([asdict(result) for result in results]) + "\n").encode())
    write_atomic(document, render(results, reading).encode())
    return document


def read_reading(document: Path) -> str:
    """What is written by hand in a document; a line that says so if there is none."""
    if not document.exists():
        return NO_READING
    found = re.search(
        f"{re.escape(OPENS)}\n(.*?)\n{re.escape(CLOSES)}", document.read_text(encoding="utf-8"), re.DOTALL
    )
    if found is None:
        raise ConfigError(f"{document} lacks the line {OPENS}, and would be lost; move it away")
    return found[1].strip()


def read_collected(folder: Path) -> list[Result]:
    """The results that a document in `folder` was written from."""
    values: list[dict[str, Any]] = json.loads((folder / NAME / "results.json").read_bytes())
    return [result_of(value) for value in values]


def render(results: Sequence[Result], reading: str) -> str:
    """The document; a pure function of what was measured and what is said of it."""
    table = Table(results)
    parts = [_HEAD, OPENS, reading, CLOSES]
    judged = [result for result in results if result.looks]
    if judged:
        parts += ["## In short", _in_short(table)]
        parts += ["## Scores", _measured_with(judged, results), _score_table(table)]
    parts.append("## Comparisons")
    parts.append(_COMPARED)
    for group in GROUPS:
        parts += [f"### {group.title}", _filled(group.about), _comparison_table(group, table)]
        parts += [f"![{PLOTS[name].shows}]({NAME}/{name}.svg)" for name in known_plots(table, group.title)]
    if judged:
        parts += ["## Captions", _captions(judged)]
    return "\n\n".join(parts) + "\n"


def table_of(results: Sequence[Result]) -> RichTable:
    """For the terminal."""
    table, found = RichTable(title="Ablations, percent"), Table(results)
    table.add_column("variant")
    for name in SCORES:
        table.add_column(name, justify="right")
    for variant in VARIANTS:
        means = [found.mean((variant.name, STANDARD), name) for name in SCORES]
        table.add_row(variant.title, *("" if mean is None else f"{mean:.1f}" for mean in means))
    return table


# --- parts


def _filled(text: str) -> str:
    return textwrap.fill(text, 120)


def _in_short(table: Table) -> str:
    """What agrees with the paper and what does not; what cannot be compared with it is left out."""
    every = [comparison for group in GROUPS for comparison in group.comparisons]
    verdicts = [(c, verdict(table.difference(c.changed, c.against), c)) for c in every]
    lines = []
    for said, opening in VERDICTS.items():
        found = [c for c, v in verdicts if v == said]
        # Points stand beside the words: a list of names alone would hide how little some of it is.
        lines.append(f"{opening}:" if found else f"{opening}: nothing.")
        for c in found:
            difference = table.difference(c.changed, c.against)
            assert difference is not None and c.paper is not None
            lines.append(f"- {c.question} ({difference.points:+.1f}, in the paper {c.paper[0] - c.paper[1]:+.1f})")
        lines.append("")
    return "\n".join(lines).strip()


def _measured_with(judged: Sequence[Result], results: Sequence[Result]) -> str:
    reference = next((result for result in judged if result.variant == REFERENCE), judged[0])
    seeds = len({result.seed for result in judged})
    minutes = sum(result.training["seconds"] for result in results) / 60
    look = reference.looks[STANDARD]
    return _filled(
        f"{seeds} seed{'s' if seeds > 1 else ''}, {reference.training['parameters'] / 1e6:.1f} million parameters, "
        f"{reference.training['steps']} steps of {reference.job['batch']} pictures after the shared base, "
        f"{len(look.pictures)} held-out pictures with {look.regions} regions. Training took {minutes:.0f} minutes."
    )


def _score_table(table: Table) -> str:
    lines = ["| | Avg | Pos | Neg | exact | said twice | training, min |", "|---|---|---|---|---|---|---|"]
    for variant in VARIANTS:
        for name in variant.looks:
            key = (variant.name, name)
            if not table.looks(key):
                continue
            cells = [f"{table.mean(key, score):.1f}" for score in SCORES]
            looks = table.looks(key).values()
            repeated = sum(look.repeated for look in looks) / sum(look.regions for look in looks)
            spent = f"{table.minutes(variant.name):.0f}" if name == STANDARD else ""
            title = variant.title if name == STANDARD else f"· {name}"
            lines.append(f"| {title} | {' | '.join(cells)} | {100 * repeated:.1f} | {spent} |")
    return "\n".join(lines)


def _comparison_table(group: Group, table: Table) -> str:
    lines = ["| | from | to | difference | paper | |", "|---|---|---|---|---|---|"]
    for comparison in group.comparisons:
        difference = table.difference(comparison.changed, comparison.against)
        if difference is None:
            cells = ["", "", "not measured yet"]
        else:
            before, after = (table.mean(key, "avg") for key in (comparison.against, comparison.changed))
            cells = [f"{before:.1f}", f"{after:.1f}", f"{difference.points:+.1f} ± {difference.error:.1f}"]
        cells.append(_of_the_paper(comparison))
        cells.append(verdict(difference, comparison))
        lines.append(f"| {comparison.question} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _of_the_paper(comparison: Comparison) -> str:
    if comparison.paper is None:
        return ""
    after, before = comparison.paper
    return f"{after - before:+.1f} ({before} to {after})"


def verdict(difference: Difference | None, comparison: Comparison) -> str:
    """Whether what is seen here points the way it does in the paper; "" where there is nothing to compare."""
    if difference is None or comparison.paper is None:
        return ""
    agrees, differs, unseen = VERDICTS
    if not difference.clear:
        return unseen
    after, before = comparison.paper
    return agrees if (difference.points > 0) == (after > before) else differs


def _captions(results: Sequence[Result]) -> str:
    """The first regions, as they should be described and as some variants do."""
    of_seed = {result.variant: result for result in reversed(results) if STANDARD in result.looks}
    shown = [variant.name for variant in VARIANTS if variant.name in of_seed]
    lines = ["| region | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for place, (expected, _) in enumerate(of_seed[shown[0]].looks[STANDARD].examples):
        found = [of_seed[name].looks[STANDARD].examples[place][1] for name in shown]
        lines.append("| " + " | ".join([expected, *(text.replace("|", "/") for text in found)]) + " |")
    return "\n".join(lines)


_HEAD = f"""# Ablations

The ablations of the paper, repeated in miniature by one command:

    make ablations

A small model learns to describe plain shapes with colors and patterns (level 1 of `pdlm data scenes`, pictures of 64
pixels). All variants start from one image-level model (`jobs/train/ablations/{BASE}.yaml`) and differ from
`{REFERENCE}.yaml` in what the head of their own job file says. Captions of pictures that no training has seen are
judged by rule, question by question, as ParaDLC-Bench has them judged (see [scenes.md](scenes.md)). A run that is
stopped goes on with the same command; `SEEDS=3` repeats everything under three seeds, and

    pdlm ablations jobs/train/ablations --only no-roi --only no-prompts

runs some of it.

This page is written from [the results]({NAME}/results.json), all but what stands under *Reading*.

## Reading"""

_COMPARED = """Average score in percent, as it is and as it becomes. The error is that of the mean difference of a
picture; with several seeds that between seeds, if it is larger. With one seed the luck of the training is not in it. A
difference of more than two errors counts as seen. The paper's figures are of another model, other pictures and another
judge: only their direction can be compared."""
