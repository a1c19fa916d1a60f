"""From nothing to the first caption, in a process of its own: `python -m pdlm_cli.bench.loading JSON`."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from model.settings import DecodeSettings
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.session import Session
from pdlm_cli.bench.usage import Usage, merged, resident_bytes
from pdlm_cli.checkpoints import named_or_shipped
from pdlm_cli.device import DTYPES
from pdlm_cli.errors import DeviceError
from pdlm_cli.progress import open_progress

STAGES = ("start and imports", "checkpoint", "first pass", "second pass")


def load(session: Session) -> list[Point]:
    """Stages of a cold process, again and again; the file cache of the system is warm but for the first, which is not
    counted."""
    job = session.job
    seen: list[dict[str, Any]] = []
    with (
        checkpoint_folder(session) as folder,
        open_progress(job.repeats + job.warmup, session.log_format, session.console, doing="load", unit="runs") as bar,
    ):
        for _ in range(job.repeats + job.warmup):
            seen.append(_one_process(folder, session))
            bar.advance(1)
    counted = seen[job.warmup :]
    return [
        Point(
            bench="load",
            contender=stage,
            axis="stage",
            value=place,
            seconds=tuple(stages[stage]["seconds"] for stages in counted),
            **asdict(merged([Usage(**stages[stage]["used"]) for stages in counted])),
        )
        for place, stage in enumerate(STAGES)
    ]


@contextmanager
def checkpoint_folder(session: Session) -> Iterator[str]:
    """What --model says, or a folder with the random weights for as long as it is needed."""
    if session.job.random_weights is None:
        yield named_or_shipped(session.job.model)
        return
    from model.sizes import random_model

    model, size = session.subject.model, session.job.random_weights
    if session.subject.quantize is not None or model.device.type == "cpu":  # weights as they are used, never stored
        model = random_model(size, vocabulary=session.job.vocabulary, dtype=model.dtype)
    with tempfile.TemporaryDirectory(prefix="pdlm-bench-") as folder:
        model.save_pretrained(folder)
        yield folder


def _one_process(folder: str, session: Session) -> dict[str, Any]:
    """Of each stage its seconds, and what it used, as fields of Usage."""
    model, job = session.subject.model, session.job
    dtype = next(name for name, full in DTYPES.items() if full == str(model.dtype).removeprefix("torch."))
    engine = {
        "checkpoint": folder,
        "device": str(model.device),
        "dtype": dtype,
        "quantize": job.quantize,
        "compiled": job.compiled,
    }
    work = {"decode": asdict(job.decode), "tiles": session.scene(1).tiles}
    asked = json.dumps({"engine": engine, **work, "began": time.time()})
    done = subprocess.run(  # nosec B603 # this very program, no shell
        [sys.executable, "-m", "pdlm_cli.bench.loading", asked], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise DeviceError(f"a process that was to load the model failed: {done.stderr.strip()[-400:]}")
    stages: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return stages


def main() -> None:
    asked = json.loads(sys.argv[1])
    from model.decode import caption_passes
    from pdlm_cli.bench.workload import draw_scene
    from pdlm_cli.engine import load_engine

    def moment() -> tuple[float, float, int | None]:
        return time.time(), time.process_time(), resident_bytes()

    moments = [(asked["began"], 0.0, None), moment()]
    engine = load_engine(**asked["engine"], settings=DecodeSettings(**asked["decode"]))
    moments.append(moment())
    scene = draw_scene(engine.model.config, asked["tiles"], 1)
    passes = scene.passes(engine.model.config, 1)
    for _ in range(2):
        caption_passes(engine.model, passes, engine.settings)
        moments.append(moment())
    spent = [
        {"seconds": at - earlier, "used": {"cpu_seconds": cpu - cpu_earlier, "peak_rss_bytes": held}}
        for (earlier, cpu_earlier, _), (at, cpu, held) in pairwise(moments)
    ]
    sys.stdout.write(json.dumps(dict(zip(STAGES, spent, strict=True))) + "\n")


if __name__ == "__main__":
    main()
