"""`pdlm ablations`: the runs that are missing, one after the other, then the table of what is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pdlm_cli import logs
from pdlm_cli.ablations.document import table_of, write_document
from pdlm_cli.ablations.plan import Run, minutes, plain_look, plan_runs, result_path
from pdlm_cli.ablations.results import Measured, Result, read_result, read_results, write_result
from pdlm_cli.errors import ConfigError
from pdlm_cli.logs import log, read_events
from pdlm_cli.plotting import require_matplotlib
from pdlm_cli.signals import StopSignals

SESSION = "starting from "  # how training logs that it begins, or goes on


@dataclass(frozen=True, kw_only=True)
class AblationJob:
    """jobs: folder of job files. output: of trainings and results. docs: folder that gets the document and its plots,
    that of the output if None. seeds: how many. only: variants, all if empty. max_steps: of every training, in place
    of the job's. pictures: held-out ones a look. render_only: run nothing."""

    jobs: Path
    output: Path
    docs: Path | None
    seeds: int
    only: tuple[str, ...]
    max_steps: int | None
    pictures: int
    render_only: bool


def run(job: AblationJob, log_format: str, stop: StopSignals) -> int:
    """Returns the exit code: 0, or 128 + signal. The same command goes on. Raises PdlmError."""
    console, form = logs.configure(log_format)
    require_matplotlib()  # better now than after hours
    runs = plan_runs(job.jobs, job.output, range(job.seeds), job.only, job.max_steps)
    if not job.render_only:
        missing = missing_runs(runs, job.output, job.pictures)
        code = _run_all(missing, job, log_format, stop)
        if code:
            return code
    results = read_results(job.output / "results")
    document = write_document(results, job.docs or job.output)
    if form != "json":
        console.print(table_of(results))
    log.info("wrote %s, from %d results", document, len(results))
    return 0


def missing_runs(runs: Sequence[Run], output: Path, pictures: int) -> list[Run]:
    """Runs without a result of all that is looked at now, and those whose model is gone that they start from. Raises
    ConfigError if a result is of another job."""
    unfinished = [item for item in runs if not _finished(item, result_path(output, item), pictures)]
    missing: list[Run] = []
    for item in reversed(runs):
        wanted = str(item.model) in {later.job.model.start for later in missing}
        if item in unfinished or (wanted and not item.model.exists()):
            missing.insert(0, item)
    return missing


def _finished(item: Run, path: Path, pictures: int) -> bool:
    if not path.exists():
        return False
    result = read_result(path)
    if not _same(result.job, item.job.to_dict()):
        raise ConfigError(
            f"{path} is of another job than {item.name} is now; remove it and {item.job.output} to run it again, or "
            "choose another --output"
        )
    # Other looks need no other training: it is found done, and looked at again.
    return {name: look.look for name, look in result.looks.items()} == {
        name: plain_look(look, pictures) for name, look in item.looks.items()
    }


def _same(before: Any, now: Any) -> bool:
    """Whether two jobs are alike in the fields that both have: later versions of training may know more."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(_same(before[name], now[name]) for name in before.keys() & now.keys())
    return bool(before == now)


def _run_all(runs: Sequence[Run], job: AblationJob, log_format: str, stop: StopSignals) -> int:
    speed = None
    for number, item in enumerate(runs):
        left = minutes(runs[number:], job.pictures, speed)
        end = datetime.fromtimestamp(datetime.now().timestamp() + 60 * left)
        log.info(
            "run %d of %d: %s, seed %d; about %.0f minutes left, until %s",
            number + 1,
            len(runs),
            item.name,
            item.seed,
            left,
            end.strftime("%H:%M"),
        )
        code = _train(item, log_format, stop)
        if code:
            return code
        seconds = trained_seconds(item.log)
        speed = item.samples / seconds if seconds else speed
        result = _look(item, job, seconds, log_format, stop)
        if result is None:
            assert stop.received is not None
            log.warning("stopped; the same command goes on from here")
            return 128 + stop.received
        write_result(result_path(job.output, item), result)
    return 0


def _train(item: Run, log_format: str, stop: StopSignals) -> int:
    from pdlm_cli.training.run import run as train

    if stop.received is not None:
        return 128 + stop.received
    return train(item.job, resume=True, log_format=log_format, stop=stop)


def _look(item: Run, job: AblationJob, seconds: float, log_format: str, stop: StopSignals) -> Result | None:
    """All looks at a trained variant; None if it was stopped."""
    from pdlm_cli.ablations.measure import count_parameters, measure

    console, form = logs.configure(log_format)
    stop.defer()
    looks: dict[str, Measured] = {}
    for name, look in item.looks.items():
        measured = measure(
            item.model,
            look,
            job.pictures,
            console=console,
            log_format=form,
            stopped=lambda: stop.received is not None,
        )
        if measured is None:
            return None
        looks[name] = measured
        log.info("%s, %s: %.1f on average", item.name, name, 100 * measured.scores["avg"])
    assert item.job.max_steps is not None
    training = {"steps": item.job.max_steps, "seconds": round(seconds, 1), "parameters": count_parameters(item.model)}
    return Result(item.name, item.seed, item.job.to_dict(), training, looks)


def trained_seconds(path: Path) -> float:
    """From the log of a training: the seconds of each stretch of it, from its start to its last step, added up."""
    seconds, started, last = 0.0, 0.0, 0.0
    for event in read_events(path):
        time = datetime.fromisoformat(event["time"]).timestamp()
        if event["message"].startswith(SESSION):
            seconds += last - started
            started = last = time
        elif "step" in event:
            last = time
    return seconds + last - started
