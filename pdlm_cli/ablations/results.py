"""Results of ablations: a JSON file a variant and seed, and what is said of two of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pdlm_cli.atomic import write_atomic
from pdlm_cli.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at a trained model.

    look: its fields. scores: avg, pos, neg, pooled, recognised (see evaluation.protocol.Scores) and exact, the share
    of captions that say all that is true of a region and nothing else, all from -1 to 1. regions: captioned.
    repeated: captions that stand at two different regions of a picture. forward_seconds: of encoding and decoding
    alone. pictures: avg of each picture. examples: expected and found captions of a few regions.
    """

    look: dict[str, Any]
    scores: dict[str, float]
    regions: int
    repeated: int
    forward_seconds: float
    pictures: list[float]
    examples: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Result:
    """A variant under a seed. job: as it was resolved. training: steps, seconds, parameters. looks: by name."""

    variant: str
    seed: int
    job: dict[str, Any]
    training: dict[str, float]
    looks: dict[str, Measured]


def write_result(path: Path, result: Result) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(asdict(result), indent=1) + "\n").encode())


def read_result(path: Path) -> Result:
    """Raises ConfigError if the file is none of ours."""
    try:
        return result_of(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} holds no result of an ablation ({error}); remove it to measure again") from error


def result_of(values: dict[str, Any]) -> Result:
    looks = {
        name: Measured(**look | {"examples": [(expected, found) for expected, found in look["examples"]]})
        for name, look in values["looks"].items()
    }
    return Result(**values | {"looks": looks})


def read_results(folder: Path) -> list[Result]:
    """All results of a folder, by seed and name of the variant."""
    found = [read_result(path) for path in folder.glob("*.json")]
    return sorted(found, key=lambda result: (result.seed, result.variant))


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two average scores, in points. error: its standard error, over pictures, or over seeds if that is larger."""

    points: float
    error: float

    @property
    def clear(self) -> bool:
        return abs(self.points) > 2 * self.error


class Table:
    """Scores of many results, by variant and look, over the seeds that there are."""

    def __init__(self, results: Sequence[Result]) -> None:
        self._results = results
        self._found: dict[tuple[str, str], dict[int, Measured]] = {}
        for result in results:
            for name, look in result.looks.items():
                self._found.setdefault((result.variant, name), {})[result.seed] = look

    def looks(self, key: tuple[str, str]) -> Mapping[int, Measured]:
        """By seed; empty if there are none."""
        return self._found.get(key, {})

    def mean(self, key: tuple[str, str], score: str) -> float | None:
        """In percent, over the seeds."""
        looks = self.looks(key)
        return 100 * fmean(look.scores[score] for look in looks.values()) if looks else None

    def milliseconds(self, key: tuple[str, str]) -> float:
        """A region, encoding and decoding only, over the seeds."""
        looks = self.looks(key).values()
        return 1000 * sum(look.forward_seconds for look in looks) / sum(look.regions for look in looks)

    def minutes(self, variant: str) -> float:
        """Of training, over the seeds."""
        return fmean(result.training["seconds"] for result in self._results if result.variant == variant) / 60

    def difference(self, changed: tuple[str, str], against: tuple[str, str]) -> Difference | None:
        """Of the average score, over the seeds that have both; None if there are none.

        Both are of the same pictures, so the error is that of the mean difference of a picture.
        """
        first, second = self.looks(changed), self.looks(against)
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            return None
        points = [100 * (first[seed].scores["avg"] - second[seed].scores["avg"]) for seed in seeds]
        error = max(_over_pictures([(first[seed], second[seed]) for seed in seeds]), _standard_error(points))
        return Difference(fmean(points), error)


def _over_pictures(pairs: Sequence[tuple[Measured, Measured]]) -> float:
    differences = [
        100 * (a - b) for first, second in pairs for a, b in zip(first.pictures, second.pictures, strict=True)
    ]
    # The same pictures under every seed: no more of them than one seed has.
    return _standard_error(differences) * len(pairs) ** 0.5


def _standard_error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
