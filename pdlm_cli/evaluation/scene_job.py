"""`pdlm eval scenes`: draw, caption, judge, report."""

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pdlm_cli import __version__, logs
from pdlm_cli.data_engine.scene import check
from pdlm_cli.engine import load_engine
from pdlm_cli.errors import ConfigError
from pdlm_cli.evaluation.breakdown import Breakdown
from pdlm_cli.evaluation.folder import EvaluationDir
from pdlm_cli.evaluation.regions import JudgedRegion, judged_json, regions_bytes
from pdlm_cli.evaluation.report import markdown, summary_table, worst_sheet
from pdlm_cli.evaluation.scenes import SceneSet, evaluate
from pdlm_cli.logs import log
from pdlm_cli.progress import open_progress
from pdlm_cli.report import Report
from pdlm_cli.signals import StopSignals


@dataclass(frozen=True, kw_only=True)
class SceneEvalJob:
    """Everything `pdlm eval scenes` was asked for.

    pictures, seed, split, level, objects: see SceneSet. size: that of the checkpoint's tiles, if None. model, device,
    dtype, quantize, decode: see load_engine. batch_size: passes a model call. workers: threads that draw.
    """

    pictures: int
    seed: int
    split: str
    level: int
    size: int | None
    objects: tuple[int, int]
    model: str | None
    device: str
    dtype: str
    quantize: str | None
    decode: Mapping[str, Any]
    batch_size: int
    workers: int
    output: Path
    overwrite: bool

    def scenes(self, tile: int) -> SceneSet:
        """tile: of the checkpoint, in pixels. Raises ConfigError if there are no such scenes."""
        size = self.size or tile
        try:
            check(self.seed, 0, self.level, size, self.split, self.objects)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return SceneSet(self.pictures, self.seed, self.split, self.level, size, self.objects)


@dataclass(frozen=True)
class SceneEvalResult:
    """found: None if the run was stopped. exit_code: 0, or 128 + the signal that came."""

    found: Breakdown | None
    exit_code: int

    def to_json(self) -> str:
        return json.dumps(self.found.to_json() if self.found is not None else {"exit_code": self.exit_code})


def run(job: SceneEvalJob, log_format: str, stop: StopSignals) -> SceneEvalResult:
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
            assert stop.received is not None
            log.error("stopped after %d of %d pictures; no scores were written", done, scenes.pictures)
            return SceneEvalResult(None, 128 + stop.received)
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
    return SceneEvalResult(found, 0)


def _files(
    job: SceneEvalJob,
    scenes: SceneSet,
    found: Breakdown,
    regions: list[JudgedRegion],
    facts: Mapping[str, str],
    speed: Mapping[str, Any],
) -> dict[str, bytes]:
    """Content by name. All but run.json depend on the settings alone."""
    settings = {
        "model": job.model or "the one that ships",
        "model_sha256": facts["model_sha256"],
        "dtype": facts["dtype"],
        "quantize": job.quantize,
        **asdict(scenes),
        **job.decode,
    }
    predictions, questions = judged_json(regions)
    versions = {"pdlm": __version__, "python": platform.python_version()}
    ran = {"settings": settings, "batch_size": job.batch_size, "engine": dict(facts), "versions": versions}
    return {
        "_eval/run.json": _json(ran | {"speed": dict(speed)}),
        "regions.parquet": regions_bytes(regions),
        "judged.json": _json(predictions),
        "qa.json": _json(questions),
        "report.md": markdown(found, regions, settings).encode(),
        "worst.png": worst_sheet(found, regions, scenes),
        "scores.json": _json({"settings": settings} | found.to_json()),
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
