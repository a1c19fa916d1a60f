"""`pdlm bench`: open a session, measure, write what was found, show it."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from rich.console import Console

from pdlm_cli import logs
from pdlm_cli.bench.end_to_end import e2e
from pdlm_cli.bench.loading import load
from pdlm_cli.bench.memory import memory
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.results import Results, results_of, write_results
from pdlm_cli.bench.session import BenchJob, Session, open_session
from pdlm_cli.bench.sweeps import length, parallelism, steps, throughput
from pdlm_cli.bench.table import part_rows, rich_table, target_rows, terminal_table
from pdlm_cli.bench.target_runs import targets
from pdlm_cli.device import device_errors, pick_device
from pdlm_cli.logs import log


@dataclass(frozen=True)
class Measurement:
    title: str
    run: Callable[[Session], list[Point]]


MEASUREMENTS = {
    "throughput": Measurement("Captions over regions a picture", throughput),
    "parallelism": Measurement("Four masks, at several a pass", parallelism),
    "steps": Measurement("Time over denoising steps", steps),
    "length": Measurement("Time over the length of captions", length),
    "e2e": Measurement("A run by its stages", e2e),
    "memory": Measurement("Memory over passes a batch", memory),
    "load": Measurement("From nothing to the first caption", load),
    "targets": Measurement("Targets", targets),
}


def run(job: BenchJob, log_format: str) -> str:
    """Do the job and give its JSON line. Raises ConfigError, DeviceError, OutputError, Interrupted: nothing is written
    before everything is measured."""
    console, form = logs.configure(log_format)
    plots = importlib.util.find_spec("matplotlib") is not None
    if not plots:
        log.warning('no charts without matplotlib; install it: pip install "pdlm[plots]"')
    session = open_session(_sized(job), console, form)
    measurement = MEASUREMENTS[job.bench]
    with device_errors():
        points = measurement.run(session)
    results = results_of(job.bench, measurement.title, points, _facts(session), _notes(session))
    written = write_results(results, job.output, plots=plots)
    if form != "json":
        show(results, console)
    log.info("wrote %s", ", ".join(str(path) for path in written))
    return json.dumps({**results.to_json(), "output": str(job.output)})


def _sized(job: BenchJob) -> BenchJob:
    """Targets are about random weights of a known size."""
    if job.bench != "targets" or job.model is not None or job.random_weights is not None:
        return job
    size = "8b" if pick_device(job.device).type == "cuda" else "100m"
    return replace(job, random_weights="tiny" if job.quick else size)


def _facts(session: Session) -> dict[str, object]:
    job = session.job
    asked = {
        "regions": job.regions,
        "baselines": list(job.baselines),
        "part_steps": job.part.steps,
        "part_regions": job.part.regions,
        "repeats": job.repeats,
        "warmup": job.warmup,
        "quick": job.quick,
        **asdict(job.decode),
    }
    if job.bench == "e2e":  # whose pictures are as they were drawn
        not_asked = "regions", "baselines", "part_steps", "part_regions"
        return {**session.facts, **{name: value for name, value in asked.items() if name not in not_asked}}
    return {**session.facts, "tiles": session.scene(1).tiles, **asked}


def _notes(session: Session) -> list[str]:
    said = []
    if session.subject.random:
        said.append("The weights are random: times are true, captions mean nothing.")
    if session.job.quick:
        said.append("A quick look at a small model: none of this is a measurement to go by.")
    if session.meter.gauge is None:
        said.append("No GPU was asked for energy, power, utilization and clocks: they are empty.")
    busy = session.facts["load_before"] / session.facts["cores"]
    if busy > 0.5:
        said.append(f"The machine was busy before: {busy:.1f} processes a core. Only ratios of this run mean anything.")
    return said


def show(results: Results, console: Console) -> None:
    """Tables and notes on the console."""
    if "targets" in results.facts:
        heads, rows = target_rows(results.facts)
        console.print(rich_table("Targets", heads[:-1], [row[:-1] for row in rows]))  # the last says what they are
        console.print(rich_table("What each part contributes", *part_rows(results.facts)))
    for own in results.by_measurement():
        console.print(terminal_table(results.title_of(own), own, console.width))
    for note in results.notes:
        console.print(note, style="dim", markup=False, highlight=False)
