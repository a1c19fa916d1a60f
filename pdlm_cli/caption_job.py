"""`pdlm caption`: an annotation file and its pictures to a directory of Parquet.

manifest -> parts -> worker threads: image, masks, passes -> batches -> model -> rows -> part files
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from model.settings import DecodeSettings
from pdlm_cli import logs
from pdlm_cli.checkpoints import checkpoint_sha256, named_or_shipped
from pdlm_cli.devices.fleet import open_workers
from pdlm_cli.engine import Engine
from pdlm_cli.engine_dry import DryEngine
from pdlm_cli.engine_idle import idle_engine
from pdlm_cli.errors import ConfigError
from pdlm_cli.exporting import export_beside
from pdlm_cli.images import Exif
from pdlm_cli.logs import log
from pdlm_cli.manifest import Manifest
from pdlm_cli.parts import PartRunner, failed_images, failed_keys, kept_rows, missing_images
from pdlm_cli.preparation import Preparation
from pdlm_cli.progress import Progress, open_progress
from pdlm_cli.proposed_input import with_regions_proposed
from pdlm_cli.report import Report, told_of_empty
from pdlm_cli.report_page.page import write_report
from pdlm_cli.run_dir import RunDir
from pdlm_cli.run_facts import continued, plan_of, planned, refuse_another, run_facts, table_metadata
from pdlm_cli.run_input import open_run_input
from pdlm_cli.signals import StopSignals
from pdlm_cli.since import By
from pdlm_cli.sources import Sources


@dataclass(frozen=True, kw_only=True)
class CaptionJob:
    """Everything `pdlm caption` was asked for.

    input, format, images, masks, exif, max_pixels, max_regions, allow_outside: see open_with_sources. since: outputs of
    earlier runs; what they have done is left out. since_by: what tells an image, see EarlierRows. model, devices,
    dtype, pass_timeout, quantize, compiled: see open_workers. batch_size: passes a model call, None for what
    suits the device. min_area, skip_crowd: see Preparation. limit: images, None for all. shard: which of how many, from
    0. part_rows: regions after which a part file is closed. workers: threads that prepare images. max_error_rate: 0 to
    1. retry_errors: error rows once more. dry_run_model: the pipeline without a network. also:
    forms of the finished table, see EXPORTS. report: write report.html too (see report_page). propose: segmenter that
    makes regions for the pictures of an input that has none.
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
    devices: tuple[str, ...]
    dtype: str
    decode: DecodeSettings
    seed: int
    batch_size: int | None
    pass_timeout: float | None
    limit: int | None
    shard: tuple[int, int] | None
    part_rows: int
    workers: int
    max_error_rate: float
    allow_outside: bool
    overwrite: bool
    retry_errors: bool
    dry_run_model: bool
    also: Sequence[str]
    report: bool = False
    quantize: str | None = None
    compiled: bool = False
    propose: str | None = None
    since_by: By = "name"
    min_area: int = 0
    skip_crowd: bool = False


def run(job: CaptionJob, log_format: str, stop: StopSignals) -> Report:
    """Do the job, or go on with it where the output directory holds its beginning, and report.

    Raises PdlmError for what stops a run, and Interrupted while there is nothing to commit; whatever concerns
    a region alone is an error row.
    """
    console, form = logs.configure(log_format)
    if job.output.resolve() == Path(job.input).resolve():
        raise ConfigError(
            f"{job.output} is the input, with whose files a run does not mix its own; choose another --output"
        )
    if job.propose is not None:
        job = with_regions_proposed(job, job.propose, form, console)
    manifest, sources = open_job_input(job)
    with RunDir(job.output, overwrite=job.overwrite) as out:
        if out.earlier is not None:
            refuse_another(job.output, out.earlier, _without_model(job, manifest, out.earlier))
        if out.earlier is not None and not _work_left(job, manifest, out):
            report = _already_finished(job, manifest, out, out.earlier)
        else:
            done = _rows_done(job, out)
            with (
                _engine(job, manifest) as engine,
                open_progress(
                    manifest.regions, form, console, doing="captioning", unit="regions", done=done
                ) as progress,
            ):
                stop.defer()
                report = caption_manifest(manifest, sources, engine, out, job, progress, stop)
        if job.report and stop.received is None:  # who stops a run is not to wait for pictures
            log.info("%s", write_report(job.output, workers=job.workers))
    if form != "json":
        console.print(report.render())
    return report


def open_job_input(job: CaptionJob) -> tuple[Manifest, Sources]:
    """The images that the job is about, and where their pictures are. Raises InputError, ConfigError."""
    manifest, sources = open_run_input(asdict(job))
    if not manifest.regions and not manifest.images_left_out:
        made = "" if job.propose is not None else "; --propose MODEL makes regions for its pictures"
        log.warning("%s has no regions: there is nothing to caption%s", job.input, made)
    return planned(manifest, plan_of(job, manifest)), sources


def caption_manifest(
    manifest: Manifest,
    sources: Sources,
    engine: Engine,
    out: RunDir,
    job: CaptionJob,
    progress: Progress,
    stop: StopSignals,
) -> Report:
    """Caption all images of the manifest into `out` that it does not hold yet; after a stop signal, those up to the
    pass under way.

    manifest: what is planned of the input. Raises ConfigError if `out` holds another run, DeviceError, OutputError.
    """
    facts = run_facts(job, manifest, engine.facts, engine.model_sha256)
    report = Report(max_error_rate=job.max_error_rate, incremental=manifest.images_left_out > 0)
    if out.earlier is None:
        out.start(facts, proposed=job.propose is not None)
    else:
        refuse_another(job.output, out.earlier, facts)
        facts = continued(out.earlier, facts, attempt=_attempt(job, out, out.earlier))
        out.resume(facts)
    with logs.also_to(out.log_path):
        _log_start(manifest, engine, out, facts)
        batch_size = job.batch_size or engine.batch_size
        runner = PartRunner(engine, out, table_metadata(facts), batch_size, job.workers, report, progress, stop)
        how = Preparation(sources=sources, seed=job.seed, min_area=job.min_area, skip_crowd=job.skip_crowd)
        runner.run(missing_images(manifest, job.part_rows, out), replace(how, kept=kept_rows(out)))
        if job.retry_errors and not runner.stopped:
            attempt = facts["attempt"]
            runner.run(failed_images(manifest, job.part_rows, out, attempt), replace(how, attempt=attempt))
        if not manifest.images and not out.markers:
            # A table of no rows, so that what reads the output finds its columns.
            out.commit(0, [], table_metadata(facts), complete=True)
        report.stop_signal = stop.received
        report.incidents, report.busy = engine.incidents, engine.busy
        report.table(out.markers.values())
        if not runner.stopped:
            export_beside(job.output, job.also)
        out.finish(report.summary(), success=report.exit_code == 0)
        _log_end(report, job)
    return report


@contextmanager
def _engine(job: CaptionJob, manifest: Manifest) -> Iterator[Engine]:
    if job.dry_run_model:
        yield DryEngine()
        return
    if not manifest.regions:
        device = "0" if job.devices[0] == "all" else job.devices[0]
        yield idle_engine(job.model, device, job.dtype, job.decode, quantize=job.quantize)
        return
    log.info("loading the model")
    asked = job.model, job.devices, job.dtype, job.decode, job.pass_timeout
    with open_workers(*asked, quantize=job.quantize, compiled=job.compiled) as engine:
        yield engine


def _rows_done(job: CaptionJob, out: RunDir) -> int:
    """Rows of complete parts that are not to be made again."""
    complete = [marker for marker in out.markers.values() if marker.complete]
    return sum(marker.rows - job.retry_errors * sum(marker.errors.values()) for marker in complete)


def _without_model(job: CaptionJob, manifest: Manifest, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """run.json as it would be with the model of the earlier run: what can be compared before one is loaded."""
    engine = dict(earlier["engine"])
    if job.dtype != "auto" and not job.dry_run_model:
        engine["dtype"] = job.dtype
    return run_facts(job, manifest, engine, earlier["hashes"]["model"])


def _work_left(job: CaptionJob, manifest: Manifest, out: RunDir) -> bool:
    if next(missing_images(manifest, job.part_rows, out), None) is not None or not out.markers:
        return True
    return job.retry_errors and any(marker.errors for marker in out.markers.values())


def _already_finished(job: CaptionJob, manifest: Manifest, out: RunDir, earlier: Mapping[str, Any]) -> Report:
    """Say so, and what it holds, once it is certain that the model is the same too; it need not be loaded for that."""
    dry = DryEngine()
    model = dry.model_sha256 if job.dry_run_model else checkpoint_sha256(job.model, job.quantize)
    name = dry.facts["model"] if job.dry_run_model else named_or_shipped(job.model)
    refuse_another(job.output, earlier, run_facts(job, manifest, {**earlier["engine"], "model": name}, model))
    out.tidy()
    incremental = manifest.images_left_out > 0
    report = Report(max_error_rate=job.max_error_rate, finished_before=True, incremental=incremental)
    report.table(out.markers.values())
    retry = "; --retry-errors tries the error rows once more" if report.errors else ""
    log.info("%s is finished: %s. --overwrite makes them all again%s", job.output, report.counted(), retry)
    export_beside(job.output, job.also)
    # Killed after its last part, the run has no statistics of its own.
    out.finish(None if out.has_stats else report.summary(), success=report.exit_code == 0)
    return report


def _attempt(job: CaptionJob, out: RunDir, earlier: Mapping[str, Any]) -> int:
    """The number of the attempt under way: a new one if error rows are to be tried again and all were in the last."""
    attempt: int = earlier["attempt"]
    if not job.retry_errors:
        return attempt
    under_way = attempt > 1 and any(failed_keys(out, part, attempt) for part in out.markers)
    return attempt if under_way else attempt + 1


def _log_start(manifest: Manifest, engine: Engine, out: RunDir, facts: Mapping[str, Any]) -> None:
    rows = sum(marker.rows for marker in out.markers.values())
    if out.earlier is not None:
        log.info("going on with the run in %s, which has %d of %d rows", out.path, rows, manifest.regions)
    log.info(
        "captioning %d regions of %d images with %s on %s",
        manifest.regions,
        manifest.images,
        engine.facts["model"],
        engine.facts["device"],
        extra={"facts": {"event": "start" if out.earlier is None else "resume", "rows_there": rows, **facts}},
    )


def _log_end(report: Report, job: CaptionJob) -> None:
    facts = {"facts": {"event": "end", **report.summary()}}
    if report.no_image_found:
        where = job.images or "the folder of the input"
        log.error("none of the images is in %s; --images names where they are", where, extra=facts)
    elif report.stop_signal is not None:
        log.warning("interrupted: %d rows are in %s; the same command goes on", report.rows, job.output, extra=facts)
    else:
        if report.empty:
            log.warning("%s", told_of_empty(report.empty, report.captions))
        idle = "".join(f"; {name} waited for input {share:.0%} of the time" for name, _, share in report.idle())
        log.info("%s, in %s%s", report.counted(), job.output, idle, extra=facts)
