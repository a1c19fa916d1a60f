"""The runs that the targets are judged by, side by side in one process."""

import math
from dataclasses import asdict, replace

from model.settings import DecodeSettings
from pdlm_cli.bench.contenders import Contender
from pdlm_cli.bench.end_to_end import e2e
from pdlm_cli.bench.long_run import long_run
from pdlm_cli.bench.paradlc import paradlc_cases
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.preparation_cost import milliseconds
from pdlm_cli.bench.scene_steps import count_steps
from pdlm_cli.bench.session import Session
from pdlm_cli.bench.timing import Case, case_of
from pdlm_cli.bench.usage import Meter
from pdlm_cli.bench.verdicts import AXIS, contributions, judge
from pdlm_cli.bench.workload import Scene
from pdlm_cli.cores import on_cores
from pdlm_cli.errors import ConfigError
from pdlm_cli.progress import open_progress

CORES = 2  # for which the small checkpoint's target is


def targets(session: Session) -> list[Point]:
    """Measure everything. Verdicts, and what each part contributes, go to the facts of the session."""
    import torch

    job, delayed = session.job, _delayed(session)
    with open_progress(3 * job.pictures, session.log_format, session.console, doing="scenes", unit="pictures") as bar:
        steps = count_steps(job.pictures, job.device, bar)
    fewer = max(1, math.ceil(steps.average))
    points = session.measure(_cases(session, fewer, delayed))
    on_gpu = session.subject.model.device.type == "cuda"
    if on_gpu:
        points += session.measure(paradlc_cases(session))
    # A target of the CPU, wherever the others are measured.
    on_cpu = replace(job, device="cpu", dtype="auto", quantize=None, compiled=False)
    small = replace(on_cpu, bench="e2e", model=None, random_weights=None)
    with on_cores(CORES):
        points += e2e(replace(session, job=small, meter=Meter(torch.device("cpu"))))
    points += long_run(job.quick)
    session.facts["scene_steps"] = {name: round(value, 2) for name, value in asdict(steps).items()}
    session.facts["parts"] = contributions(session, points)
    verdicts = judge(points, steps, milliseconds(max(5, job.repeats)), on_gpu=on_gpu)
    session.facts["targets"] = [own.to_json() for own in verdicts]
    return points


def _delayed(session: Session) -> DecodeSettings:
    """The same settings, with written tokens kept. Raises ConfigError where that cannot be."""
    if session.settings.cache == "delayed":
        raise ConfigError("--cache delayed: the targets are measured with it and without; leave it out")
    try:
        delayed = replace(session.settings, cache="delayed")
        delayed.check(session.subject.model.config)
    except ValueError as error:
        raise ConfigError(f"the targets are measured with --cache delayed too: {error}") from error
    return delayed


def _cases(session: Session, fewer: int, delayed: DecodeSettings) -> list[Case]:
    contenders, length, most = session.contenders, session.settings.length, session.job.regions
    adaptive = replace(session.settings, steps=fewer)
    whole, single = session.scene(most), session.scene(1)

    def case(contender: Contender, scene: Scene = whole, name: str | None = None) -> Case:
        return case_of(contender, scene, length, AXIS, len(scene.masks), name)

    return [
        case(contenders.together()),
        case(contenders.together(), single),
        case(contenders.one_by_one(1)),
        case(contenders.together(delayed), name="delayed"),
        case(contenders.together(delayed), single, name="delayed"),
        case(contenders.one_by_one(1, delayed), name="sequential delayed"),
        case(contenders.together(adaptive), name="adaptive"),
        case(contenders.left_to_right()),
        case(contenders.uncached()),
        case(contenders.released()),
    ]
