"""What a measurement is given: the model, the machine, how often to repeat."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from model.settings import DecodeSettings
from pdlm_cli.bench.contenders import Contenders, Part
from pdlm_cli.bench.machine import Rates, machine_facts, measure_rates
from pdlm_cli.bench.nvml import open_gauge, uuid_of
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.subject import Subject, open_subject
from pdlm_cli.bench.timing import Case, measure
from pdlm_cli.bench.usage import Meter
from pdlm_cli.bench.workload import Scene, draw_scene, most_tiles
from pdlm_cli.device import device_errors, model_errors
from pdlm_cli.logs import log
from pdlm_cli.progress import open_progress


@dataclass(frozen=True, kw_only=True)
class BenchJob:
    """Everything a measurement was asked for.

    bench: which. model, random_weights, vocabulary, device, dtype, quantize, compiled: see `open_subject`. tiles: of a
    picture, None for the most. regions: of a picture, at most. values: places of the axis, None for the usual ones.
    baselines: see `contenders`. part: how much of slow loops is run. repeats, warmup: of every point. pictures: of runs
    end to end and of the scenes that steps are counted on. quick: a look, not a measurement.
    """

    bench: str
    output: Path
    model: str | None
    random_weights: str | None
    vocabulary: int | None
    device: str
    dtype: str
    quantize: str | None
    compiled: bool
    decode: DecodeSettings
    tiles: int | None
    regions: int
    values: tuple[int, ...] | None
    baselines: tuple[str, ...]
    part: Part
    repeats: int
    warmup: int
    pictures: int
    quick: bool


@dataclass
class Session:
    """facts: of model and machine, for the record; a measurement may add to them."""

    job: BenchJob
    console: Console
    log_format: str
    subject: Subject
    meter: Meter
    rates: Rates
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> DecodeSettings:
        return self.job.decode

    @cached_property
    def contenders(self) -> Contenders:
        return Contenders(self.subject, self.settings, self.job.part)

    def scene(self, regions: int) -> Scene:
        config = self.subject.model.config
        return draw_scene(config, self.job.tiles or most_tiles(config), regions)

    def values(self, usual: Sequence[int]) -> tuple[int, ...]:
        return self.job.values or tuple(usual)

    def measure(self, cases: Sequence[Case]) -> list[Point]:
        job = self.job
        runs = len(cases) * (job.repeats + job.warmup)
        with open_progress(runs, self.log_format, self.console, doing=job.bench, unit="runs") as progress:
            return measure(
                job.bench,
                cases,
                repeats=job.repeats,
                warmup=job.warmup,
                meter=self.meter,
                rates=self.rates,
                progress=progress,
            )


def open_session(job: BenchJob, console: Console, log_format: str) -> Session:
    """Load the model and see what the machine can do. Raises ConfigError, DeviceError."""
    log.info("loading the model")
    with device_errors():
        asked = job.model, job.random_weights, job.vocabulary, job.device, job.dtype, job.quantize, job.compiled
        subject = open_subject(*asked)
    with model_errors():
        job.decode.check(subject.model.config)
    if subject.random:
        log.warning("the weights are random: times are true, captions mean nothing")
    model = subject.model
    facts = {**subject.facts, **machine_facts(model.device, model.dtype)}
    rates = measure_rates(model.device, model.dtype)
    meter = Meter(model.device, open_gauge(uuid_of(model.device)))
    driver = meter.gauge.driver if meter.gauge is not None else None
    facts |= {**rates.facts(), "gpu_gauge": meter.gauge is not None, "driver": driver}
    return Session(job, console, log_format, subject, meter, rates, facts)
