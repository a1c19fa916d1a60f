"""`pdlm eval scenes`: draw, caption, judge, report."""

import time
from collections.abc import Mapping
from typing import Any

from model.settings import DecodeSettings
from pdlm_cli import logs
from pdlm_cli.atomic import as_json
from pdlm_cli.engine import load_engine
from pdlm_cli.evaluation.breakdown import Breakdown
from pdlm_cli.evaluation.folder import EvaluationDir
from pdlm_cli.evaluation.job import EvalResult, SceneEvalJob
from pdlm_cli.evaluation.regions import JudgedRegion, judged_json, regions_bytes
from pdlm_cli.evaluation.report import markdown, summary_table, worst_sheet
from pdlm_cli.evaluation.scenes import SceneSet, evaluate
from pdlm_cli.logs import log
from pdlm_cli.progress import open_progress
from pdlm_cli.report import Report
from pdlm_cli.signals import StopSignals


def run(job: SceneEvalJob[DecodeSettings], log_format: str, stop: StopSignals) -> EvalResult:
    """Do the job. Raises PdlmError for what stops it, and Interrupted while there is nothing to finish."""
    console, form = logs.configure(log_format)
    with EvaluationDir(job.output, overwrite=job.overwrite) as out:
        log.info("loading the model")
        engine = load_engine(job.model, job.device, job.dtype, job.decode, quantize=job.quantize)
        scenes = job.scenes(engine.tile_size)
        stop.defer()
        started, speed = time.monotonic(), Report(max_error_rate=0.0)
        regions: list[JudgedRegion] = []
        done = 0
        with open_progress(scenes.pictures, form, console, doing="evaluating", unit="pictures") as progress:
            for judged in evaluate(
                scenes,
                engine,
                batch_size=job.batch_size,
                workers=job.workers,
                report=speed,
                progress=progress,
                stopped=lambda: stop.received is not None,
            ):
                regions += judged
                done += 1
        if done < scenes.pictures:
            return EvalResult.stopped(done, scenes.pictures, stop)
        seconds = time.monotonic() - started
        found = Breakdown.of(regions)
        facts = {**engine.facts, "model_sha256": engine.model_sha256}
        out.write(
            _files(job, scenes, found, regions, facts, speed.summary() | {"end_to_end_seconds": round(seconds, 3)})
        )
    if form != "json":
        console.print(summary_table(found))
    log.info(
        "%d regions of %d pictures in %.1f s; the report is %s",
        found.whole.masks,
        found.pictures,
        seconds,
        job.output / "report.md",
        extra={"facts": {"event": "end", "seconds": seconds}},
    )
    return EvalResult(found, 0)


def _files(
    job: SceneEvalJob[DecodeSettings],
    scenes: SceneSet,
    found: Breakdown,
    regions: list[JudgedRegion],
    facts: Mapping[str, str],
    speed: Mapping[str, Any],
) -> dict[str, bytes]:
    """Content by name. All but run.json depend on the settings alone."""
    settings = job.settings(scenes, facts)
    predictions, questions = judged_json(regions)
    return {
        "_eval/run.json": as_json(job.ran(settings, facts, speed)),
        "regions.parquet": regions_bytes(regions),
        "judged.json": as_json(predictions),
        "qa.json": as_json(questions),
        "report.md": markdown(found, regions, settings).encode(),
        "worst.png": worst_sheet(found, regions, scenes),
        "scores.json": as_json({"settings": settings} | found.to_json()),
    }
