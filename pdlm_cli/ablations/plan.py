"""Which runs a table of ablations needs, in which order, where they lie and how long they take. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pdlm_cli.ablations.variants import BASE, BY_NAME, SHARED, TOWER, VARIANTS, Look
from pdlm_cli.errors import ConfigError
from pdlm_cli.training.job import TrainJob, load_job

# Measured on two cores with little else to do.
SAMPLES_A_SECOND = 48.0  # of the reference, trained
REGIONS_A_SECOND = 60.0  # captioned in 16 steps


@dataclass(frozen=True, slots=True)
class Run:
    """A variant, or what all variants start from, under a seed. job: with that seed and in its own folder."""

    name: str
    seed: int
    job: TrainJob

    @property
    def model(self) -> Path:
        return Path(self.job.output) / "model"

    @property
    def log(self) -> Path:
        return Path(self.job.output) / "log.jsonl"

    @property
    def looks(self) -> Mapping[str, Look]:
        return {} if self.name in SHARED else BY_NAME[self.name].looks

    @property
    def samples(self) -> float:
        """That it trains on, in samples that cost as much as those of the reference."""
        assert self.job.max_steps is not None
        cost = SHARED[self.name] if self.name in SHARED else BY_NAME[self.name].cost
        return self.job.max_steps * self.job.batch * cost


def plan_runs(
    jobs: Path, output: Path, seeds: Iterable[int], only: Sequence[str] = (), max_steps: int | None = None
) -> list[Run]:
    """All runs, seed after seed, first what the variants of a seed start from.

    jobs: folder of job files. only: names of variants, all if empty. max_steps: of every run, in place of the job's.
    Raises ConfigError if a name or a job file is unknown.
    """
    unknown = [name for name in only if name not in BY_NAME]
    if unknown:
        raise ConfigError(f"--only {', '.join(unknown)}: expected one of {', '.join(BY_NAME)}")
    names = [variant.name for variant in VARIANTS if not only or variant.name in only]
    runs = []
    for seed in seeds:
        folder = output / f"seed-{seed}"
        for name in (*SHARED, *names):
            changes = [f"output={folder / name}", f"seed={seed}"]
            if name != TOWER:
                changes.append(f"model.start={folder / (TOWER if name == BASE else BASE) / 'model'}")
            if max_steps is not None:
                changes += ["epochs=null", f"max_steps={max_steps}"]
            runs.append(Run(name, seed, load_job(jobs / f"{name}.yaml", changes)))
    return runs


def result_path(output: Path, run: Run) -> Path:
    return output / "results" / f"{run.name}-seed-{run.seed}.json"


def plain_look(look: Look, pictures: int) -> dict[str, Any]:
    """A look as its result names it; of `pictures` held-out ones, or the share of them that it takes."""
    values = asdict(look)
    count = max(2, round(pictures * values.pop("share")))
    return values | {"shapes": list(look.shapes), "pictures": count}


def looked_at(run: Run, pictures: int) -> float:
    """Regions that are captioned of a run, in regions of 16 steps."""
    looks = run.looks.values()
    return sum(sum(look.shapes) / 2 * pictures * look.share * look.steps / 16 * look.length / 16 for look in looks)


def minutes(runs: Iterable[Run], pictures: int, samples_a_second: float | None = None) -> float:
    """That runs take. samples_a_second: as earlier runs have shown, the usual if None."""
    speed = samples_a_second or SAMPLES_A_SECOND
    seconds = [
        run.samples / speed + looked_at(run, pictures) / (REGIONS_A_SECOND * speed / SAMPLES_A_SECOND) for run in runs
    ]
    return sum(seconds) / 60
