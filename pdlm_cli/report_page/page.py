"""The page itself: everything put into one file that needs no other and lets nothing else in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pdlm_cli.annotated import INKS
from pdlm_cli.atomic import write_atomic
from pdlm_cli.drawings import MARK
from pdlm_cli.errors import REMEDIES
from pdlm_cli.html_page import inline, template
from pdlm_cli.moved import UNMOVED, Moved
from pdlm_cli.progress import watched
from pdlm_cli.report_page.cards import Card, draw_cards, read_source
from pdlm_cli.report_page.charts import charts, stages
from pdlm_cli.report_page.record import RunRecord, read_run

MAX_IMAGES = 300
UNKNOWN_CODE = "This version of pdlm does not know the code; the messages say what happened."


@dataclass(frozen=True)
class Written:
    """A page that was written. images: shown on it, of `of_images`."""

    path: Path
    size: int
    images: int
    of_images: int

    def __str__(self) -> str:
        return f"wrote {self.path}, {megabytes(self.size)}, {self.images} of {self.of_images} pictures"


def write_report(
    folder: Path,
    *,
    output: Path | None = None,
    moved: Moved = UNMOVED,
    max_images: int = MAX_IMAGES,
    workers: int,
) -> Written:
    """The page over a run of `pdlm caption`, as `output` or report.html in its folder.

    moved: where its input lies now. max_images: the first of the input that are shown; numbers, charts and errors are
    those of all. workers: threads that draw pictures. Raises ConfigError, InputError, OutputError.
    """
    record = read_run(folder)
    every = record.image_ids()
    shown = list(islice(every, max_images))
    source = read_source(moved.applied_to(record.run["job"]), record, shown)
    drawn = draw_cards(source, record.rows_of(shown), workers)
    with watched(drawn, len(shown), doing="drawing", unit="pictures") as watched_cards:
        cards = list(watched_cards)
    page = render(record, cards, _notes(record, cards, source.note, len(every)), len(every))
    target = output or folder / "report.html"
    write_atomic(target, page)
    return Written(target, len(page), len(shown), len(every))


def render(record: RunRecord, cards: Sequence[Card], notes: Sequence[str], images: int) -> bytes:
    """images: of the run, those left out included."""
    style, script = inline("report_page", "page.css"), inline("report_page", "page.js")
    data = {"cards": cards, "inks": ["#{:02x}{:02x}{:02x}".format(*ink) for ink in INKS]}
    errors = record.errors()
    page = template("report_page").render(
        mark=MARK,
        name=record.folder.resolve().name,
        summary=_summary(record, images),
        notes=notes,
        errors=errors,
        remedies={code: REMEDIES.get(code, UNKNOWN_CODE) for code in errors},
        shown_keys={region["key"] for card in cards for region in card["regions"]},
        stages=stages(record.numbers),
        charts=charts(record.numbers),
        facts=_facts(record),
        style=style,
        script=script,
        data=data,
        size=megabytes(len(json.dumps(data, separators=(",", ":"))) + len(style.text) + len(script.text)),
    )
    return page.encode()


def _summary(record: RunRecord, images: int) -> list[str]:
    rows, captions, skipped = record.numbers.num_rows, record.count("ok"), record.count("skipped")
    said = [f"{captions:,} of {rows:,} regions captioned", f"{images:,} {'picture' if images == 1 else 'pictures'}"]
    if skipped:
        said.insert(1, f"{skipped:,} skipped")
    if record.stats is not None and record.stats["seconds"] is not None:
        said.append(f"{record.stats['seconds']:,.1f} s")
    return [*said, _model(record.run), record.run["created_at"][:16].replace("T", " ")]


def _notes(record: RunRecord, cards: Sequence[Card], changed: str | None, images: int) -> list[str]:
    """What a reader must know to judge the rest."""
    notes = []
    if record.stats is None:
        notes.append("The run had not finished when this page was made.")
    elif record.stats["interrupted"]:
        notes.append("The run was interrupted: what it did not reach is not here.")
    elif not images:
        notes.append("There was nothing to caption: no picture has regions, or --since or --shard left them out.")
    if len(cards) < images:
        notes.append(
            f"The first {len(cards):,} of {images:,} pictures are shown (--max-images). "
            "Numbers, charts and errors are those of all."
        )
    if changed is not None:
        notes.append(changed)
    lost = sum(card["src"] is None and any(region["status"] == "ok" for region in card["regions"]) for card in cards)
    if lost:
        notes.append(
            f"Pictures that were captioned and cannot be shown now: {lost:,}. Their regions are drawn on gray. "
            "pdlm report --images names the folder."
        )
    return notes


def _facts(record: RunRecord) -> dict[str, list[tuple[str, str]]]:
    """Groups of names and values, as text."""
    run, job, stats = record.run, record.run["job"], record.stats
    engine = {name: value for name, value in run["engine"].items() if name not in ("model", "torch", "transformers")}
    versions = run["versions"] | {
        name: run["engine"][name] for name in ("torch", "transformers") if name in run["engine"]
    }
    numbers: dict[str, Any] = {"rows": record.numbers.num_rows, "captions": record.count("ok")}
    if skipped := record.count("skipped"):
        numbers["skipped"] = skipped
    if stats is not None:
        names = ("passes", "tokens_generated", "seconds", "regions_per_second")
        numbers |= {name: stats[name] for name in names if stats[name] is not None}
    groups: dict[str, Mapping[str, Any]] = {
        "Model": {"model": _model(run), **engine},
        "Settings": {**job["decode"], "seed": job["seed"], "batch_size": job["batch_size"]},
        "Input": {"file": job["input"], "pictures in": job["images"], **run["input"]},
        "Result": numbers,
        "Versions": versions,
        "Hashes, in short": {"run": run["run_id"][:12], **{name: text[:12] for name, text in run["hashes"].items()}},
    }
    return {title: [(_words(name), _text(value)) for name, value in facts.items()] for title, facts in groups.items()}


def _model(run: Mapping[str, Any]) -> str:
    return str(run["engine"]["model"]) if run["job"]["model"] is not None else "model/tiny, which ships"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    if value is None:
        return "default"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"
