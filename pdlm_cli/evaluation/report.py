"""The report of a run as Markdown, its summary for a terminal, and the sheet of its worst pictures."""

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table

from pdlm_cli.annotated import annotate, sheet_png
from pdlm_cli.evaluation.breakdown import Answers, Breakdown
from pdlm_cli.evaluation.judged import percent, score_table
from pdlm_cli.evaluation.protocol import Scores
from pdlm_cli.evaluation.regions import JudgedRegion
from pdlm_cli.evaluation.scenes import SceneSet
from pdlm_cli.stdout import printable


def summary_table(found: Breakdown) -> Table:
    """What a terminal shows."""
    table = score_table(found.whole, f"{found.pictures} scenes")
    table.add_row("captions shared by regions that differ", str(found.shared))
    return table


def markdown(found: Breakdown, regions: Sequence[JudgedRegion], settings: Mapping[str, object]) -> str:
    """The whole report. settings: name and value, shown as they are."""
    sections = [
        "# Captions of drawn scenes",
        "The protocol of ParaDLC-Bench, judged by rules. Scores are means over regions, from -100 % to 100 %; the "
        "right kind of object is asked for first, and where it is not named nothing is gained.",
        setting_table(settings),
        "## Scores",
        markdown_table(("", ""), _whole(found)),
        "## By size of the region",
        "Share of the picture that its mask covers.",
        _score_rows("size", found.by_size),
        "## By regions in the picture",
        _score_rows("regions in the picture", found.by_regions),
        "## By question",
        "Attributes that should be said, then parts that the object lacks and what is true of another object only, "
        "which should not. Neither right nor wrong is what was left unsaid, or gained nothing for want of the right "
        "kind.",
        _answer_rows(found.by_question),
        f"## The worst {len(found.worst)} pictures",
        "![Masks outlined and numbered, expected and found captions beside them](worst.png)",
    ]
    own = by_picture(regions)
    for place, (picture, score) in enumerate(found.worst, 1):
        sections += [f"### {place}. {picture}, pooled {percent(score)}", _region_rows(own[picture])]
    return "\n\n".join(sections) + "\n"


def worst_sheet(found: Breakdown, regions: Sequence[JudgedRegion], scenes: SceneSet) -> bytes:
    """The worst pictures as one PNG, drawn again: expected and found caption of each region, and its scores."""
    own = by_picture(regions)
    pages = []
    for picture, score in found.worst:
        scene = scenes.draw(scenes.index(picture))
        notes: list[tuple[int | None, str]] = [(None, f"{picture}, pooled {percent(score)}")]
        for region in own[picture]:
            notes.append((region.index, f"expected: {region.expected}"))
            notes.append((None, f"found: {visible(region.found)}"))
            notes.append((None, _brief(region)))
        pages.append(annotate(scene.picture, [item.mask for item in scene.objects], notes))
    return sheet_png(pages)


def by_picture(regions: Iterable[JudgedRegion]) -> dict[str, list[JudgedRegion]]:
    pictures: dict[str, list[JudgedRegion]] = {}
    for region in regions:
        pictures.setdefault(region.picture, []).append(region)
    return pictures


def visible(caption: str) -> str:
    """On one line, nothing in it that moves a cursor."""
    text = printable(caption)
    return text if text.strip() else "(no caption)"


def _brief(region: JudgedRegion) -> str:
    score = region.score
    kind = "right kind" if score.recognised else "wrong kind"
    neg = "" if score.neg is None else f", neg {100 * score.neg:.0f} %"
    return f"    {kind}, pos {100 * score.pos:.0f} %{neg}"


def _whole(found: Breakdown) -> list[tuple[str, str]]:
    whole = found.whole
    return [
        ("Pos", percent(whole.pos)),
        ("Neg", percent(whole.neg)),
        ("Avg", percent(whole.avg)),
        ("pooled per region", percent(whole.pooled)),
        ("right kind of object", percent(whole.recognised)),
        ("captions shared by regions of a picture that differ", str(found.shared)),
        ("pictures", str(found.pictures)),
        ("regions", str(whole.masks)),
        ("of them with negative questions", str(whole.masks_with_negatives)),
        ("missing captions", str(whole.missing)),
        ("unparsed answers", str(whole.unparsed + whole.recognitions_unparsed)),
    ]


def _score_rows(label: str, groups: Mapping[str, Scores]) -> str:
    rows = [
        (name, str(s.masks), percent(s.pos), percent(s.neg), percent(s.avg), percent(s.recognised), str(s.missing))
        for name, s in groups.items()
    ]
    return markdown_table((label, "regions", "Pos", "Neg", "Avg", "right kind", "missing"), rows)


def _answer_rows(sorts: Mapping[str, Answers]) -> str:
    rows = []
    for sort, a in sorts.items():
        right, wrong = (percent(n / a.questions if a.questions else None) for n in (a.right, a.wrong))
        rows.append((sort, str(a.questions), right, wrong, percent(a.mean)))
    return markdown_table(("asked for", "questions", "right", "wrong", "mean score"), rows)


def _region_rows(regions: Iterable[JudgedRegion]) -> str:
    rows = []
    for region in regions:
        score = region.score
        kind = "yes" if score.recognised else "no"
        captions = code(region.expected), code(region.found)
        rows.append((str(region.index + 1), *captions, kind, percent(score.pos), percent(score.neg)))
    return markdown_table(("region", "expected", "found", "right kind", "Pos", "Neg"), rows)


def setting_table(settings: Mapping[str, object]) -> str:
    return markdown_table(("setting", "value"), [(name, _setting(value)) for name, value in settings.items()])


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """A text that is shown as it is, in a cell of a table: no markup in it counts."""
    return "`" + visible(text).replace("`", "'").replace("|", "\\|") + "`"


def _setting(value: object) -> str:
    """Fewest and most as the command line has them."""
    return code("-".join(map(str, value)) if isinstance(value, tuple) else str(value))
