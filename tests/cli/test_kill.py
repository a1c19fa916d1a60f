"""`kill -9`, at every named point of a commit and at random moments: nothing is lost and nothing is half."""

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pdlm_cli.atomic import POINTS
from tests.cli.processes import ForkServer, dry, small_squares
from tests.cli.runs import rows_of
from tests.cli.support import Dataset

PLAN = ("--part-rows", 5, "--batch-size", 2)
KILLED = -9


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    with ForkServer(tmp_path_factory.mktemp("server") / "log") as started:
        yield started


def whole_files_only(out: Path) -> bool:
    """No file under a temporary name, and every part opens."""
    parts = list((out / "data").iterdir())
    return all(pq.read_table(part).num_rows for part in parts) and not list(out.rglob(".*.tmp"))


@pytest.mark.fault("`kill -9` at any point of a commit")
@pytest.mark.parametrize("file", ["run.json", "part-00001.parquet", "00001.json", "stats.json", "_SUCCESS"])
def test_a_run_killed_in_a_commit_goes_on(
    dataset: Dataset, tmp_path: Path, server: ForkServer, file: str, seen: Any
) -> None:
    small_squares(dataset, 7)
    assert server.run(*dry(dataset, tmp_path / "whole", *PLAN)) == 0
    for point in POINTS:
        out = tmp_path / point
        arguments = dry(dataset, out, *PLAN)
        assert server.run(*arguments, environment={"PDLM_KILL_AT": f"{file}:{point}"}) == KILLED
        for part in out.glob("data/part-*"):
            pq.read_table(part)
        assert server.run(*arguments) == 0
        assert rows_of(out, times=False) == rows_of(tmp_path / "whole", times=False)
        assert whole_files_only(out)
        assert (out / "_SUCCESS").exists() and (out / "_pdlm/stats.json").exists()
    seen(f"killed at {len(POINTS)} points of a file's commit, resumed, rows as undisturbed")


@pytest.mark.fault("`kill -9` while error rows are tried again")
@pytest.mark.parametrize("file", ["run.json", "part-00001.parquet", "00001.json"])
def test_a_retry_killed_in_a_commit_keeps_the_rows_that_were_ok(
    dataset: Dataset, tmp_path: Path, server: ForkServer, file: str, seen: Any
) -> None:
    small_squares(dataset, 7)
    picture = dataset.folder / "5.png"
    data = picture.read_bytes()
    picture.unlink()
    assert server.run(*dry(dataset, tmp_path / "with-errors", *PLAN)) == 3
    before = rows_of(tmp_path / "with-errors")
    picture.write_bytes(data)
    for point in POINTS:
        out = shutil.copytree(tmp_path / "with-errors", tmp_path / point)
        retry = [*dry(dataset, out, *PLAN), "--retry-errors"]
        assert server.run(*retry, environment={"PDLM_KILL_AT": f"{file}:{point}"}) == KILLED
        assert server.run(*retry) == 0
        for old, new in zip(before, rows_of(out), strict=True):
            assert new == old if old["status"] == "ok" else (new["status"], new["attempt"]) == ("ok", 2)
        assert whole_files_only(out)
    seen("rows that were ok are the same to the last bit, error rows were tried once")


@pytest.mark.fault("`kill -9` at any moment")
def test_a_run_killed_at_three_moments_goes_on(dataset: Dataset, tmp_path: Path, server: ForkServer, seen: Any) -> None:
    killed_at_moments(dataset, tmp_path, server, 3)
    seen("killed at 3 random moments, resumed, rows as undisturbed")


@pytest.mark.soak
@pytest.mark.fault("`kill -9` at any moment")
def test_a_run_killed_at_fifty_moments_goes_on(dataset: Dataset, tmp_path: Path, server: ForkServer, seen: Any) -> None:
    killed_at_moments(dataset, tmp_path, server, 50)
    seen("killed at 50 random moments, resumed, rows as undisturbed")


def killed_at_moments(dataset: Dataset, tmp_path: Path, server: ForkServer, kills: int) -> None:
    """Each run is killed once, at a moment spread over the time that a whole run takes, and then goes on."""
    small_squares(dataset, 20)
    started = time.monotonic()
    assert server.run(*dry(dataset, tmp_path / "whole", *PLAN)) == 0
    seconds = time.monotonic() - started
    rng = random.Random(1)
    for kill in range(kills):
        out = tmp_path / f"{kill}"
        arguments = dry(dataset, out, *PLAN)
        running = server.start(*arguments)
        time.sleep(seconds * rng.uniform(kill, kill + 1) / kills)
        running.kill()
        assert running.wait() in (KILLED, 0)  # 0: it was through already
        assert server.run(*arguments) == 0
        assert rows_of(out, times=False) == rows_of(tmp_path / "whole", times=False)
        assert whole_files_only(out)
