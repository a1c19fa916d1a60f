"""Results made up for tests, and a folder of jobs small enough to run."""

from dataclasses import asdict
from pathlib import Path

import yaml

from pdlm_cli.ablations.plan import plain_look
from pdlm_cli.ablations.results import Measured, Result
from pdlm_cli.ablations.variants import SHARED, TOWER, VARIANTS
from tests.repo.files import ROOT

JOBS = ROOT / "jobs" / "train" / "ablations"
PICTURES = 10


def measured(avg: float, *, spread: float = 0.0, pictures: int = PICTURES, **changes) -> Measured:
    """avg: of all pictures; every other one is better by `spread`, the rest worse."""
    values = {
        "look": {},
        "scores": {"avg": avg, "pos": avg, "neg": avg, "pooled": avg, "recognised": avg, "exact": avg / 2},
        "regions": 3 * pictures,
        "repeated": 3,
        "forward_seconds": 1.5,
        "pictures": [avg + spread * (-1) ** i for i in range(pictures)],
        "examples": [("A red star.", "A red | star."), ("A blue moon.", "A moon.")],
    }
    return Measured(**values | changes)


def result(variant: str, looks: dict[str, Measured], seed: int = 0) -> Result:
    return Result(variant, seed, {"batch": 32}, {"steps": 900, "seconds": 600.0, "parameters": 1600000}, looks)


def all_results(seeds: int = 1) -> list[Result]:
    """Every variant, each a little worse than the one before it; what they start from too."""
    results = []
    for seed in range(seeds):
        results += [result(name, {}, seed) for name in SHARED]
        for place, variant in enumerate(VARIANTS):
            looks = {
                name: measured(0.6 - 0.03 * place - 0.001 * number, look=plain_look(look, PICTURES))
                for number, (name, look) in enumerate(variant.looks.items())
            }
            results.append(result(variant.name, looks, seed))
    return results


def plain(results: list[Result]) -> list[dict]:
    return [asdict(item) for item in results]


def small_jobs(folder: Path, *names: str) -> Path:
    """Copies of the committed jobs of `names` and of what they start from, with less to draw, learn and compute."""
    folder.mkdir()
    for name in (*SHARED, *names):
        values = yaml.safe_load((JOBS / f"{name}.yaml").read_text())
        values |= {"batch": 2, "micro_batch": 2, "max_steps": 1, "precision": "fp32"}
        values["data"]["workers"] = 0
        for source in values["data"]["sources"]:
            source["scenes"]["pictures"] = 8
        if name == TOWER:
            values["model"]["random"] |= {"vision": [16, 32, 2, 2], "text": [16, 32, 1, 2], "vocabulary": 320}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return folder
