"""The targets: what is to be reached, where, and what was."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Target:
    """goal: of the figure, in `unit`. atleast: whether the figure is to be as large as it, or else as small. where:
    the device that it is about."""

    name: str
    says: str
    goal: float
    unit: str
    atleast: bool
    where: str


CPU_TARGETS = (
    Target("cache", "isolated and cached against the published loop", 12, "x", True, "cpu"),
    Target("adaptive", "the same, as many steps as the small checkpoint needs", 25, "x", True, "cpu"),
    Target("one pass", "six regions in one pass against one at a time", 3, "x", True, "cpu"),
    Target("growth", "time of a picture with six regions by that with one", 2, "x", False, "cpu"),
    Target("ar", "against left to right, the picture encoded for each region", 2.5, "x", True, "cpu"),
    Target("one pass delayed", "as one pass, keys and values of written tokens kept by both", 3, "x", True, "cpu"),
    Target("growth delayed", "as growth, keys and values of written tokens kept", 2, "x", False, "cpu"),
    Target("ar delayed", "as ar, keys and values of written tokens kept", 2.5, "x", True, "cpu"),
    Target("ar adaptive", "as ar, as many steps as the small checkpoint needs", 2.5, "x", True, "cpu"),
    Target(
        "preparation", "tiles and footprints of 1024 x 768, 5 masks, one core, resize left out", 40, "ms", False, "cpu"
    ),
    Target("small checkpoint", "regions a second, end to end, on two cores", 20, "regions/s", True, "cpu"),
    Target("memory", "of a run of 100,000 regions, held at its end by that held at a tenth", 1.1, "x", False, "cpu"),
)
GPU_TARGETS = (
    Target("one pass", "six regions in one pass against one at a time", 4, "x", True, "cuda"),
    Target("growth", "time of a picture with six regions by that with one", 1.4, "x", False, "cuda"),
    Target("ar", "against left to right, the picture encoded for each region", 5, "x", True, "cuda"),
    Target("ar adaptive", "as ar, as many steps as the small checkpoint needs", 5, "x", True, "cuda"),
    Target("paradlc", "299 regions in 103 passes, 32 steps; for 8B in bf16 on an H200", 25, "s", False, "cuda"),
    Target("paradlc roofline", "of the least time that its operations and bytes allow", 50, "%", True, "cuda"),
    Target("paradlc adaptive", "the same in ten steps", 14, "s", False, "cuda"),
)


@dataclass(frozen=True)
class Verdict:
    """figure: None where it was not measured, and `note` says why. low, high: of the repeats."""

    target: Target
    figure: float | None
    low: float | None
    high: float | None
    note: str

    @property
    def reached(self) -> bool | None:
        if self.figure is None:
            return None
        return self.figure >= self.target.goal if self.target.atleast else self.figure <= self.target.goal

    @property
    def distance(self) -> str:
        """A tick, or how far it is."""
        if self.figure is None:
            return "needs a GPU" if self.target.where == "cuda" else "not measured"
        if self.reached:
            return "✓"
        ratio = self.target.goal / self.figure if self.target.atleast else self.figure / self.target.goal
        missed = "short" if self.target.atleast else "too much"
        return f"{ratio:.2f}x {missed}" if ratio >= 1.005 else f"just {missed}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "reached": self.reached, "distance": self.distance}


def verdict(target: Target, samples: Sequence[float], note: str = "") -> Verdict:
    """samples: the figure of each repeat."""
    return Verdict(target, median(samples), min(samples), max(samples), note)


def ratios(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    """Of each repeat, so that what slowed the machine for a while slowed both."""
    return [one / other for one, other in zip(slow, fast, strict=True)]
