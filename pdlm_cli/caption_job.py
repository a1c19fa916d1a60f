"""`pdlm caption`: an annotation file and its pictures to a directory of Parquet.

manifest -> parts -> worker threads: image, masks, passes -> batches -> model -> rows -> part files
"""

import hashlib
import json
import platform
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from pdlm_cli import __version__, inputs, logs
from pdlm_cli.captioning import caption_images
from pdlm_cli.engine import Engine, load_engine
from pdlm_cli.images import Exif
from pdlm_cli.logs import log
from pdlm_cli.manifest import Manifest
from pdlm_cli.parquet import SCHEMA_VERSION
from pdlm_cli.passes import plan_parts
from pdlm_cli.preparation import ImageWork, prepare, run_ahead
from pdlm_cli.progress import Progress, open_progress
from pdlm_cli.regions import ImageEntry
from pdlm_cli.report import Report
from pdlm_cli.rows import Row
from pdlm_cli.run_dir import RunDir
from pdlm_cli.signals import StopSignals
from pdlm_cli.since import not_done
from pdlm_cli.sources import Sources, open_with_sources

SHOWN_ERRORS = 10


@dataclass(frozen=True, kw_only=True)
class CaptionJob:
    """Everything `pdlm caption` was asked for.

    input, format, images, masks, exif, max_pixels, max_regions, allow_outside: see open_with_sources. since: outputs of
    earlier runs; what they have done is left out. model, device, dtype, decode: see load_engine. batch_size: passes a
    model call. limit: images, None for all. part_rows: regions after which a part file is closed. workers: threads
    that prepare images. max_error_rate: 0 to 1.
    """

    input: str
    format: str
    images: str | None
    masks: str | None
    since: tuple[Path, ...]
    exif: Exif
    max_pixels: int
    max_regions: int
    output: Path
    model: str | None
    device: str
    dtype: str
    decode: Mapping[str, Any]
    seed: int
    batch_size: int
    limit: int | None
    part_rows: int
    workers: int
    max_error_rate: float
    allow_outside: bool
    overwrite: bool


def run(job: CaptionJob, log_format: str, stop: StopSignals) -> Report:
    """Do the job and report.

    Raises PdlmError for what stops a run, and Interrupted while there is nothing to commit; whatever concerns
    a region alone is an error row.
    """
    console, form = logs.configure(log_format)
    manifest, sources = open_job_input(job)
    with RunDir(job.output, overwrite=job.overwrite) as out:
        log.info("loading the model")
        engine = load_engine(job.model, job.device, job.dtype, job.decode)
        stop.defer()
        with open_progress(manifest.regions, form, console, doing="captioning", unit="regions") as progress:
            report = caption_manifest(manifest, sources, engine, out, job, progress, stop)
    if form != "json":
        console.print(report.render())
    return report


def open_job_input(job: CaptionJob) -> tuple[Manifest, Sources]:
    """The images that the job is about, and where their pictures are. Raises InputError, ConfigError."""
    manifest, sources = open_with_sources(**{name: getattr(job, name) for name in inputs.FIELDS})
    if job.since:
        before = manifest.images
        manifest = not_done(manifest, sources, job.since)
        log.info("%d of %d images are done already", before - manifest.images, before)
    if manifest.has_prompts:
        log.warning("the input has prompts of its own, which are not used; --prompt asks the same of all regions")
    return (manifest if job.limit is None else manifest.limited(job.limit)), sources


def caption_manifest(
    manifest: Manifest,
    sources: Sources,
    engine: Engine,
    out: RunDir,
    job: CaptionJob,
    progress: Progress,
    stop: StopSignals,
) -> Report:
    """Caption all images of the manifest into `out`; after a stop signal, those up to the pass under way."""
    facts = run_facts(job, manifest, engine)
    report = Report(max_error_rate=job.max_error_rate)
    out.start(facts)
    with logs.also_to(out.log_path):
        log.info(
            "captioning %d regions of %d images with %s on %s",
            manifest.regions,
            manifest.images,
            engine.facts["model"],
            engine.facts["device"],
            extra={"facts": {"event": "start", **facts}},
        )
        _caption_parts(manifest, sources, engine, out, job, report, progress, stop, _table_metadata(facts))
        report.stop_signal = stop.received
        out.finish(report.summary(), success=report.exit_code == 0)
        _log_end(report, job)
    return report


def _caption_parts(
    manifest: Manifest,
    sources: Sources,
    engine: Engine,
    out: RunDir,
    job: CaptionJob,
    report: Report,
    progress: Progress,
    stop: StopSignals,
    metadata: Mapping[str, str],
) -> None:
    def work(item: tuple[int, ImageEntry]) -> ImageWork:
        part, entry = item
        return prepare(entry, part, engine, sources, seed=job.seed)

    with closing(run_ahead(plan_parts(manifest, job.part_rows), work, job.workers)) as prepared:
        for part, images in groupby(prepared, key=lambda image: image.part):
            rows: list[Row] = []
            try:
                for finished in caption_images(
                    images,
                    engine,
                    batch_size=job.batch_size,
                    report=report,
                    progress=progress,
                    stopped=lambda: stop.received is not None,
                ):
                    rows += finished
                    _log_errors(finished, report)
            except BaseException:
                _commit(out, part, rows, metadata, complete=False)
                raise
            _commit(out, part, rows, metadata, complete=stop.received is None)
            if stop.received is not None:
                return
    if not manifest.images:
        # A table of no rows, so that what reads the output finds its columns.
        _commit(out, 0, [], metadata, complete=True)


def _commit(out: RunDir, part: int, rows: list[Row], metadata: Mapping[str, str], *, complete: bool) -> None:
    if rows or complete:
        path = out.commit(part, rows, metadata, complete=complete)
        log.info("wrote %s, %d rows", path, len(rows), extra={"facts": {"event": "part", "complete": complete}})


def run_facts(job: CaptionJob, manifest: Manifest, engine: Engine) -> dict[str, Any]:
    """run.json: what was run, with what, and hashes that tell whether another run would be the same."""
    config = {**job.decode, "seed": job.seed, "dtype": engine.facts["dtype"], "exif": job.exif}
    plan = {
        "input": manifest.sha256,
        "limit": job.limit,
        "part_rows": job.part_rows,
        "max_regions": job.max_regions,
        "left_out": manifest.left_out,
    }
    return {
        "run_id": uuid.uuid4().hex,
        "schema_version": SCHEMA_VERSION,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "job": {key: _plain(value) for key, value in asdict(job).items()},
        "input": {"format": manifest.format, "images": manifest.images, "regions": manifest.regions},
        "engine": dict(engine.facts),
        "versions": {"pdlm": __version__, "python": platform.python_version(), "pyarrow": pa.__version__},
        "hashes": {
            "config": _sha256(config),
            "model": engine.model_sha256,
            "input": manifest.sha256,
            "plan": _sha256(plan),
        },
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _table_metadata(facts: Mapping[str, Any]) -> dict[str, str]:
    hashes = facts["hashes"]
    return {
        "pdlm.run_id": facts["run_id"],
        "pdlm.config_sha256": hashes["config"],
        "pdlm.model_sha256": hashes["model"],
    }


def _sha256(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _log_errors(rows: list[Row], report: Report) -> None:
    """The first few error rows, so that a wrong folder shows at once and a million of them floods nothing."""
    before = report.errors.total() - sum(row.status == "error" for row in rows)
    errors = [row for row in rows if row.status == "error"][: max(0, SHOWN_ERRORS - before)]
    for row in errors:
        log.warning(
            "region %s of image %s: %s: %s",
            row.region_id,
            row.image_id,
            row.error_code,
            row.error_message,
            extra={"facts": {"event": "error_row", "error_code": row.error_code, "region_key": row.region_key}},
        )
    if errors and before + len(errors) == SHOWN_ERRORS:
        log.warning("further error rows are only in the table")


def _log_end(report: Report, job: CaptionJob) -> None:
    facts = {"facts": {"event": "end", **report.summary()}}
    if report.no_image_found:
        where = job.images or "the folder of the input"
        log.error("none of the images is in %s; --images names where they are", where, extra=facts)
    elif report.stop_signal is not None:
        log.warning("interrupted: %d rows are in %s", report.rows, job.output, extra=facts)
    else:
        log.info("%d rows, %d of them errors, in %s", report.rows, report.errors.total(), job.output, extra=facts)
