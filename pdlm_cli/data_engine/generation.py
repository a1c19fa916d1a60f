"""`pdlm data scenes`: so many scenes, drawn in parallel, into the files of the formats asked for."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import Any

from pdlm_cli import __version__, logs
from pdlm_cli.atomic import write_atomic
from pdlm_cli.data_engine.contact_sheet import contact_sheet
from pdlm_cli.data_engine.export import json_files, parquet_part
from pdlm_cli.data_engine.records import make_record, png_bytes
from pdlm_cli.data_engine.scene import Scene, check, draw_scene
from pdlm_cli.data_engine.scene_dir import SceneDir, write_records
from pdlm_cli.drawings import write_picture
from pdlm_cli.errors import ConfigError, DeviceError, OutputError
from pdlm_cli.logs import log
from pdlm_cli.progress import open_progress
from pdlm_cli.signals import StopSignals

SHARD = 200  # scenes
PREVIEW_SCENES = 12


@dataclass(frozen=True, kw_only=True)
class SceneJob:
    """Everything `pdlm data scenes` was asked for.

    count: scenes, of the indices 0 to count - 1. seed, split, level, size, objects: see draw_scene. formats: of
    limits.FORMATS. workers: processes. preview: PNG or JPEG file for a contact sheet of the first scenes.
    """

    out: Path
    count: int
    seed: int
    split: str
    level: int
    size: int
    objects: tuple[int, int] | None
    formats: tuple[str, ...]
    workers: int
    preview: Path | None
    overwrite: bool

    def scene(self, index: int) -> Scene:
        return draw_scene(self.seed, index, self.level, self.size, split=self.split, objects=self.objects)

    @property
    def settings(self) -> dict[str, Any]:
        """What the files depend on."""
        free = {"out", "workers", "preview", "overwrite"}
        return {name: value for name, value in asdict(self).items() if name not in free} | {"version": __version__}

    @property
    def shards(self) -> int:
        return -(-self.count // SHARD)

    def indices(self, shard: int) -> range:
        return range(shard * SHARD, min((shard + 1) * SHARD, self.count))


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did, and what the folder holds.

    pictures, regions, questions: in the folder, complete. drawn: pictures of this run; those before were there.
    pictures_per_second, and per worker: drawn, encoded and written. exit_code: 0, or 128 + the signal that came.
    """

    pictures: int
    regions: int
    questions: int
    drawn: int
    seconds: float
    pictures_per_second: float
    pictures_per_second_per_worker: float
    exit_code: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def run(job: SceneJob, log_format: str, stop: StopSignals) -> Summary:
    """Draw what is missing and write the files. Run again with the same settings, it goes on where it stopped.

    Raises ConfigError, LockedError, OutputError; DeviceError if a worker process dies.
    """
    console, form = logs.configure(log_format)
    try:
        check(job.seed, 0, job.level, job.size, job.split, job.objects)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    with SceneDir(job.out, job.settings, overwrite=job.overwrite) as out:
        if job.preview is not None:
            write_preview(job, job.preview)
        if out.complete:
            log.info("%s is complete already: %d pictures", job.out, job.count)
            return _summary(job, out.stats(), drawn=0, seconds=0.0, exit_code=0)
        waiting = [shard for shard in range(job.shards) if not out.done(shard)]
        total = sum(len(job.indices(shard)) for shard in waiting)
        if total < job.count:
            log.info("%d of %d pictures are there already", job.count - total, job.count)
        stop.defer()
        started, drawn = time.monotonic(), 0
        with open_progress(total, form, console, doing="drawing", unit="pictures") as progress:
            for pictures in _draw(job, waiting, stop):
                drawn += pictures
                progress.advance(pictures)
        seconds = time.monotonic() - started
        if drawn < total:
            assert stop.received is not None
            log.error("stopped with %d pictures left; run the same command again to go on", total - drawn)
            return _summary(job, {}, drawn, seconds, exit_code=128 + stop.received)
        stats = {"pictures": 0, "regions": 0, "questions": 0}
        for record in out.records(job.shards):
            stats["pictures"] += 1
            stats["regions"] += len(record.areas)
            stats["questions"] += len(record.training["conversations"]) // 2
        records = [] if job.formats == ("parquet",) else list(out.records(job.shards))
        out.finish(json_files(records, job.formats), stats)
        summary = _summary(job, stats, drawn, seconds, exit_code=0)
    log.info(
        "%d pictures, %d regions, %d questions in %s; %.0f pictures/s, %.0f a worker",
        summary.pictures,
        summary.regions,
        summary.questions,
        job.out,
        summary.pictures_per_second,
        summary.pictures_per_second_per_worker,
        extra={"facts": {"event": "finished", **asdict(summary)}},
    )
    return summary


def write_preview(job: SceneJob, path: Path) -> None:
    """A contact sheet of the first scenes. Raises OutputError."""
    sheet = contact_sheet([job.scene(index) for index in range(min(job.count, PREVIEW_SCENES))])
    write_picture(path, sheet)


def draw_shard(job: SceneJob, shard: int) -> int:
    """Draw and write one shard; how many pictures it has. Raises OutputError.

    Pictures are not forced to the disk one by one: what a power cut takes can be drawn again.
    """
    records, pictures = [], []
    stored = job.formats != ("parquet",)
    try:
        for folder in ["images"] * stored + ["data"] * ("parquet" in job.formats):
            (job.out / folder).mkdir(exist_ok=True)
        for index in job.indices(shard):
            scene = job.scene(index)
            records.append(make_record(scene, job.split, job.seed, index, benchmark="paradlc" in job.formats))
            pictures.append(png_bytes(scene))
            if stored:
                (job.out / records[-1].training["image"]).write_bytes(pictures[-1])
    except OSError as error:
        raise OutputError(f"cannot write to {job.out}: {error.strerror}; what was drawn before is intact") from error
    if "parquet" in job.formats:
        write_atomic(job.out / "data" / f"part-{shard:05d}.parquet", parquet_part(records, pictures))
    write_records(job.out, shard, records)
    return len(records)


def _draw(job: SceneJob, shards: list[int], stop: StopSignals) -> Iterator[int]:
    """Pictures of each shard as it is done. After a signal those under way are finished, no more are begun."""
    workers = min(job.workers, len(shards))
    if workers < 2:
        for shard in shards:
            if stop.received is not None:
                return
            yield draw_shard(job, shard)
        return
    # Spawned, not forked: this process has threads by now.
    context = multiprocessing.get_context("spawn")
    todo = iter(shards)
    running: set[Future[int]] = set()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent) as pool:
        while True:
            # No more than are worked on: whatever was handed over would have to be finished.
            if stop.received is None:
                running |= {pool.submit(draw_shard, job, shard) for shard in islice(todo, workers - len(running))}
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            try:
                yield from (future.result() for future in finished)
            except BrokenProcessPool as error:
                raise DeviceError(
                    "a worker process died, maybe for lack of memory; run the same command again to go on, with fewer "
                    "--workers"
                ) from error


def _follow_parent() -> None:
    """Signals may reach the whole process group, and the parent alone decides what is finished; if it is killed, a
    worker must not be left behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _summary(job: SceneJob, stats: Mapping[str, int], drawn: int, seconds: float, exit_code: int) -> Summary:
    rate = drawn / seconds if seconds else 0.0
    return Summary(
        pictures=stats.get("pictures", 0),
        regions=stats.get("regions", 0),
        questions=stats.get("questions", 0),
        drawn=drawn,
        seconds=round(seconds, 3),
        pictures_per_second=round(rate, 1),
        pictures_per_second_per_worker=round(rate / min(job.workers, job.shards), 1),
        exit_code=exit_code,
    )
