"""A real `pdlm caption` run, taken apart: what each stage took, and how long the device had nothing to do."""

import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from model.settings import DecodeSettings
from pdlm_cli.bench.loading import checkpoint_folder
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.program import run_program
from pdlm_cli.bench.session import Session
from pdlm_cli.bench.usage import Usage, merged
from pdlm_cli.data_engine.generation import SceneJob
from pdlm_cli.data_engine.generation import run as draw_scenes
from pdlm_cli.data_engine.limits import LARGEST_SIZE
from pdlm_cli.device import free_memory, pick_device
from pdlm_cli.engine import load_engine
from pdlm_cli.errors import Interrupted
from pdlm_cli.logs import log
from pdlm_cli.options import default_workers
from pdlm_cli.parquet import part_bytes, read_rows
from pdlm_cli.preparation import Preparation, prepare
from pdlm_cli.run_paths import RECORDS
from pdlm_cli.signals import StopSignals
from pdlm_cli.sources import open_with_sources

# In the order that data takes. The first stands before the run, load and preprocess happen in threads beside the model.
FEW = 4  # steps that a step is measured by
STAGES = ("start", "load", "preprocess", "encode", "prefill", "decode", "write", "idle", "whole")


def e2e(session: Session) -> list[Point]:
    """Drawn scenes through the whole pipeline: worker processes, threads, files.

    start: processes and weights. load, preprocess: threads that run beside the model. encode, prefill, decode: the
    device. write: rows to files. idle: device time in which none of it ran. whole: all but start; what the run used,
    start included, stands there.
    """
    from model.checkpoint import read_config
    from model.checkpoint_files import resolve

    job = session.job
    seen: list[tuple[dict[str, float], Usage]] = []
    with tempfile.TemporaryDirectory(prefix="pdlm-bench-") as name, checkpoint_folder(session) as checkpoint:
        folder = Path(name)
        tile = read_config(resolve(checkpoint)).tile_size
        _draw(folder / "scenes", job.pictures, min(LARGEST_SIZE, tile), session)
        if pick_device(job.device).type == "cuda":
            session.subject.model.cpu()  # a run has the device to itself
            free_memory()
        regions = 0
        for number in range(job.warmup + job.repeats):
            log.info("run %d of %d", number + 1, job.warmup + job.repeats)
            regions, stages, used = _one_run(folder, number, checkpoint, session)
            seen.append((stages, used))
        # Last, as this process keeps on the device what it once had there, and a run plans for what is free.
        share = _prefill_share(folder / "scenes", checkpoint, session)
    for stages, _ in seen:
        both = stages.pop("prefill and decode")
        stages |= {"prefill": both * share, "decode": both * (1 - share)}
    counted = seen[job.warmup :]
    of_all = asdict(merged([used for _, used in counted]))
    session.facts |= {"pictures": job.pictures, "workers": default_workers()}
    return [
        Point(
            bench="e2e",
            contender=stage,
            axis="stage",
            value=place,
            images=job.pictures,
            regions=regions if stage == "whole" else 0,
            seconds=tuple(stages[stage] for stages, _ in counted),
            **(of_all if stage == "whole" else {}),
        )
        for place, stage in enumerate(STAGES)
    ]


def _draw(out: Path, count: int, size: int, session: Session) -> None:
    scenes = SceneJob(
        out=out,
        count=count,
        seed=0,
        split="test",
        level=5,
        size=size,
        objects=(2, 6),
        formats=("coco",),
        workers=1,
        preview=None,
        overwrite=True,
    )
    with StopSignals() as stop:
        draw_scenes(scenes, session.log_format, stop)
    _raise_if(stop)


def _one_run(folder: Path, number: int, checkpoint: str, session: Session) -> tuple[int, dict[str, float], Usage]:
    """Regions that were captioned, seconds by stage, prefill and decode as one, and what all of it used."""
    scenes, out = folder / "scenes", folder / f"out-{number}"
    ended = run_program(_command(scenes, out, checkpoint, session), session.meter)
    stats = json.loads((out / RECORDS / "stats.json").read_bytes())
    table = pq.read_table(out / "data", columns=["image_id", "pass_id", "load_ms", "preprocess_ms"]).to_pylist()
    once_an_image = {row["image_id"]: row["load_ms"] for row in table}
    once_a_pass = {row["pass_id"]: row["preprocess_ms"] for row in table}
    encode, denoise = (stats["milliseconds"][name] / 1e3 for name in ("encode", "decode"))
    stages = {
        "start": ended.seconds - stats["seconds"],
        "load": sum(once_an_image.values()) / 1e3,
        "preprocess": sum(once_a_pass.values()) / 1e3,
        "encode": encode,
        "prefill and decode": denoise,
        "write": _write_again(out),
        "idle": max(0.0, stats["seconds"] - encode - denoise),
        "whole": stats["seconds"],
    }
    return stats["rows_made"], stages, ended.used


def _command(scenes: Path, out: Path, checkpoint: str, session: Session) -> list[str]:
    job = session.job
    given = {"input": scenes / "coco.json", "images": scenes, "output": out, "model": checkpoint, **asdict(job.decode)}
    given |= {"device": job.device, "dtype": job.dtype, "quantize": job.quantize, "log_format": "plain"}
    flags = [(f"--{name.replace('_', '-')}", str(value)) for name, value in given.items() if value is not None]
    compiled = ["--compile"] if job.compiled else []
    return [sys.executable, "-m", "pdlm_cli", "caption", *chain(*flags), *compiled]


def _prefill_share(scenes: Path, checkpoint: str, session: Session) -> float:
    """Of the time that passes spend beyond encoding: what a first batch takes with one step, less what a step takes."""
    from model.decode import caption_passes

    job = session.job
    engine = load_engine(checkpoint, job.device, job.dtype, job.decode, quantize=job.quantize, compiled=job.compiled)
    manifest, sources = open_with_sources(str(scenes / "coco.json"), images=str(scenes))
    how = Preparation(sources=sources, seed=0)
    most = engine.lanes or engine.batch_size  # as many as the run has on the device together
    passes: list[Any] = []
    for entry in manifest:
        passes += [item.prepared for item in prepare(entry, 0, engine, how).passes]
        if len(passes) >= most:
            break
    batch = passes[:most]

    def seconds(settings: DecodeSettings) -> float:
        return sum(own.decode_share_ms for own in caption_passes(engine.model, batch, settings)) / 1e3

    def with_steps(count: int) -> float:
        """Of a rule that takes all its steps."""
        return seconds(replace(engine.settings, sampler="topk", steps=count))

    with_steps(1)  # warm-up
    one = min(with_steps(1) for _ in range(3))
    more = min(with_steps(1 + FEW) for _ in range(3))
    as_it_is = min(seconds(engine.settings) for _ in range(3))
    return min(1.0, max(0.0, one - max(0.0, more - one) / FEW) / as_it_is)


def _write_again(out: Path) -> float:
    """Seconds that it takes to make the same parts of the same rows, and to have them on the disk."""
    from pdlm_cli.atomic import write_atomic

    spent = 0.0
    for part in sorted((out / "data").glob("part-*.parquet")):
        rows = read_rows(part)
        started = time.perf_counter()
        write_atomic(out / "again.parquet", part_bytes(rows, {}))
        spent += time.perf_counter() - started
    return spent


def _raise_if(stop: StopSignals) -> None:
    if stop.received is not None:
        raise Interrupted(stop.received)
