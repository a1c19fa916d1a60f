"""`pdlm eval questions`: draw, ask, compare, report."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from rich.table import Table

from model.settings import ChatSettings
from pdlm_cli import logs
from pdlm_cli.annotated import annotate, sheet_png
from pdlm_cli.atomic import as_json
from pdlm_cli.checkpoints import QUESTIONS, named_or_shipped
from pdlm_cli.evaluation.folder import EvaluationDir
from pdlm_cli.evaluation.job import EvalResult, SceneEvalJob
from pdlm_cli.evaluation.judged import percent
from pdlm_cli.evaluation.questions import Answered, AnswerScores, SortScore, evaluate
from pdlm_cli.evaluation.report import markdown_table, setting_table, visible
from pdlm_cli.evaluation.scenes import SceneSet
from pdlm_cli.loading import load_checkpoint
from pdlm_cli.logs import log
from pdlm_cli.parquet import table_bytes
from pdlm_cli.progress import open_progress
from pdlm_cli.signals import StopSignals

HEADS = ("asked for", "questions", "right", "always the same")
WORST = 20


def run(job: SceneEvalJob[ChatSettings], log_format: str, stop: StopSignals) -> EvalResult:
    """Do the job. Raises PdlmError for what stops it, and Interrupted while there is nothing to finish."""
    console, form = logs.configure(log_format)
    source = named_or_shipped(job.model, QUESTIONS)
    with EvaluationDir(job.output, overwrite=job.overwrite) as out:
        log.info("loading the model")
        loaded = load_checkpoint(source, job.device, job.dtype, quantize=job.quantize)
        facts = {**loaded.facts, "model_sha256": loaded.sha256()}
        scenes = job.scenes(loaded.model.config.tile_size)
        stop.defer()
        started = time.monotonic()
        answers: list[list[Answered]] = []
        with open_progress(scenes.pictures, form, console, doing="asking", unit="pictures") as progress:
            for own in evaluate(
                scenes,
                loaded.model,
                job.decode,
                batch_size=job.batch_size,
                workers=job.workers,
                progress=progress,
                stopped=lambda: stop.received is not None,
            ):
                answers.append(own)
        if len(answers) < scenes.pictures:
            return EvalResult.stopped(len(answers), scenes.pictures, stop)
        seconds = time.monotonic() - started
        found = AnswerScores.of([one for own in answers for one in own])
        ran = job.ran(job.settings(scenes, facts), facts, {"seconds": round(seconds, 3)})
        out.write({"_eval/run.json": as_json(ran), **_files(found, answers, scenes, ran["settings"])})
    if form != "json":
        console.print(summary_table(found))
    log.info(
        "%d answers about %d pictures in %.1f s; the report is %s",
        found.whole.questions,
        found.pictures,
        seconds,
        job.output / "report.md",
        extra={"facts": {"event": "end", "seconds": seconds}},
    )
    return EvalResult(found, 0)


def summary_table(found: AnswerScores) -> Table:
    """What a terminal shows."""
    table = Table(*HEADS, title=f"{found.pictures} scenes")
    for cells in _rows(found):
        table.add_row(*cells)
    return table


def _files(
    found: AnswerScores, answers: Sequence[Sequence[Answered]], scenes: SceneSet, settings: Mapping[str, Any]
) -> dict[str, bytes]:
    """Content by name, which depends on the settings alone."""
    worst = sorted(answers, key=lambda own: sum(answer.right for answer in own) / len(own))[:WORST]
    return {
        "answers.parquet": _parquet([one for own in answers for one in own]),
        "report.md": _markdown(found, len(worst), settings).encode(),
        "worst.png": _sheet(worst, scenes),
        "scores.json": as_json({"settings": dict(settings), **found.to_json()}),
    }


def _rows(found: AnswerScores) -> list[tuple[str, ...]]:
    """Cells under HEADS."""

    def row(name: str, own: SortScore) -> tuple[str, ...]:
        return name, str(own.questions), percent(own.share(own.right)), percent(own.share(own.usual))

    return [*(row(sort, own) for sort, own in found.by_sort.items()), row("all", found.whole)]


def _markdown(found: AnswerScores, worst: int, settings: Mapping[str, object]) -> str:
    sections = [
        "# Questions about drawn scenes",
        "Right is an answer that says the same word for word. Always the same: what one would get right who gives "
        "every question of a sort the same answer.",
        setting_table(settings),
        "## Right answers",
        markdown_table(HEADS, _rows(found)),
        f"## The {worst} pictures with the fewest",
        "![Pictures with what was asked, expected and found](worst.png)",
    ]
    return "\n\n".join(sections) + "\n"


def _sheet(worst: Sequence[Sequence[Answered]], scenes: SceneSet) -> bytes:
    """One PNG of pictures, drawn again, with questions and answers: gray where right, red where not."""
    pages = []
    for own in worst:
        notes: list[tuple[int | None, str]] = [(None, own[0].picture)]
        for answer in own:
            said = "right" if answer.right else f"expected: {answer.expected}"
            notes.append((None if answer.right else 0, f"{answer.question} {visible(answer.found)}  [{said}]"))
        picture = scenes.draw(scenes.index(own[0].picture)).picture
        pages.append(annotate(picture, [], notes, numbered=False))
    return sheet_png(pages)


SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False, metadata={"description": text})
        for name, kind, text in (
            ("picture", pa.string(), "split, seed and number of the scene"),
            ("sort", pa.string(), "what is asked for"),
            ("question", pa.string(), "as it was asked"),
            ("expected", pa.string(), "the only right answer"),
            ("found", pa.string(), "the answer of the model"),
            ("right", pa.bool_(), "whether both say the same"),
        )
    ]
)


def _parquet(answers: Sequence[Answered]) -> bytes:
    columns = {name: [getattr(answer, name) for answer in answers] for name in SCHEMA.names}
    return table_bytes(pa.table(columns, SCHEMA))
