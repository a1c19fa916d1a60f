"""Sessions and points small enough for tests, and the command with a tiny model."""

import json
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from rich.console import Console

from model.settings import DecodeSettings
from pdlm_cli.bench.contenders import Part
from pdlm_cli.bench.long_run import AXIS as LONG_RUN
from pdlm_cli.bench.machine import Rates
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.session import BenchJob, Session
from pdlm_cli.bench.subject import Subject
from pdlm_cli.bench.usage import Meter
from pdlm_cli.main import main
from tests.model.support import tiny

RATES = Rates(flop_per_second=1e9, bytes_per_second=1e8)
SMALL = ("--random-weights", "tiny", "--steps", "2", "--length", "2", "--repeats", "2", "--device", "cpu")


def bench(name: str, output: Path, *arguments: str) -> dict[str, Any]:
    small = SMALL if name == "e2e" else (*SMALL, "--tiles", "1")
    asked = ["bench", name, *small, "--output", str(output), "--log-format", "plain", *arguments]
    result = CliRunner().invoke(main, asked, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert found["bench"] == name
    assert "random: times are true" in result.stderr
    return found


def job(**changes: Any) -> BenchJob:
    values: dict[str, Any] = {
        "bench": "throughput",
        "output": Path("unused"),
        "model": None,
        "random_weights": "tiny",
        "vocabulary": None,
        "device": "cpu",
        "dtype": "fp32",
        "quantize": None,
        "compiled": False,
        "decode": DecodeSettings(),
        "tiles": 1,
        "regions": 3,
        "values": None,
        "baselines": (),
        "part": Part(),
        "repeats": 2,
        "warmup": 1,
        "pictures": 2,
        "quick": True,
    }
    return BenchJob(**(values | changes))


def session(**changes: Any) -> Session:
    """With the random model of the tests of `model`, which writes different tokens in different places."""
    asked = job(**{"decode": DecodeSettings(steps=4, length=4)} | changes)
    subject = Subject("random tiny", True, tiny())
    return Session(asked, Console(quiet=True), "plain", subject, Meter(torch.device("cpu")), RATES)


def point(contender: str = "pdlm", value: float = 1, seconds: tuple[float, ...] = (1.0, 1.2), **changes: Any) -> Point:
    values: dict[str, Any] = {"bench": "throughput", "axis": "regions a picture", "regions": 2, "tokens": 8}
    return Point(**(values | {"contender": contender, "value": value, "seconds": seconds} | changes))


def long_run_points(early: int | None, late: int | None) -> list[Point]:
    """What a long run held at a tenth and at its end."""
    held = {10: early, 100: late}
    return [point("pdlm caption", at, (1.0,), axis=LONG_RUN, peak_rss_bytes=rss) for at, rss in held.items()]
