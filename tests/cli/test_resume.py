"""Runs that were stopped and go on: the rows are those of an undisturbed run."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.settings import DecodeSettings
from pdlm_cli.errors import ConfigError, DeviceError
from pdlm_cli.parts import merge
from pdlm_cli.signals import StopSignals
from tests.cli.runs import many, rows_of, run
from tests.cli.support import Dataset, StubEngine

REGIONS = [4, 1, 2, 7, 3, 1, 5, 2]
PLAN = {"part_rows": 9, "batch_size": 3}  # batches over image boundaries


class SociableEngine(StubEngine):
    """Its captions tell with what they were computed. Stops the run in its n-th call, with a signal or an error."""

    def __init__(self, stop: StopSignals | None = None, call: int = -1, error: Exception | None = None) -> None:
        super().__init__()
        self.stop, self.call, self.error = stop, call, error

    def caption(self, passes: list[Any]) -> list[Any]:
        if len(self.batches) + 1 == self.call:
            if self.error is not None:
                raise self.error
            assert self.stop is not None
            self.stop.received = 15
        company = [area for regions in passes for area, _ in regions]
        results = super().caption(passes)
        for result in results:
            for caption in result.captions:
                caption.text += f" in {company}"
        return results


def stopped_in_call(dataset: Dataset, out: Path, call: int, **changes: Any) -> SociableEngine:
    stop = StopSignals()
    engine = SociableEngine(stop, call)
    run(dataset, out, engine, stop, **PLAN | changes)
    return engine


@pytest.fixture
def undisturbed(dataset: Dataset, tmp_path: Path) -> SociableEngine:
    many(dataset, REGIONS)
    dataset.region(3, "nonsense")
    dataset.region(dataset.image(write=False))
    engine = SociableEngine()
    run(dataset, tmp_path / "whole", engine, **PLAN)
    return engine


def same_as_undisturbed(tmp_path: Path) -> bool:
    return rows_of(tmp_path / "out", times=False) == rows_of(tmp_path / "whole", times=False)


def test_a_run_that_was_stopped_anywhere_goes_on_to_the_same_rows(
    dataset: Dataset, tmp_path: Path, undisturbed: SociableEngine
) -> None:
    calls = len(undisturbed.batches)
    assert calls == 6
    for call in range(1, calls + 1):
        out = tmp_path / f"out-{call}"
        first = stopped_in_call(dataset, out, call)
        before = rows_of(out)
        second = SociableEngine()
        report = run(dataset, out, second, **PLAN)
        assert report.exit_code == 3
        assert rows_of(out, times=False) == rows_of(tmp_path / "whole", times=False)
        # What was there stays, timings and all, and no batch is computed twice unless a row of it was lost.
        assert rows_of(out)[: len(before)] == before
        assert report.made == report.rows - len(before)
        captioned = [row for row in rows_of(out)[len(before) :] if row["status"] == "ok"]
        assert (report.tokens, report.denoise_steps) == (3 * len(captioned), 4 * len(captioned))
        assert len(first.batches) + len(second.batches) - calls in (0, 1)
        assert [row["attempt"] for row in rows_of(out)] == [1] * report.rows


@settings(max_examples=15)
@given(st.lists(st.integers(1, 3), max_size=6))
def test_a_run_may_be_stopped_again_and_again(tmp_path_factory: pytest.TempPathFactory, stops: list[int]) -> None:
    tmp_path = tmp_path_factory.mktemp("again")
    (tmp_path / "photos").mkdir()
    dataset = Dataset(tmp_path / "photos")
    many(dataset, REGIONS)
    run(dataset, tmp_path / "whole", SociableEngine(), **PLAN)
    kept = 0
    for call in stops:
        stopped_in_call(dataset, tmp_path / "out", call)
        rows = pq.read_table(tmp_path / "out/data").num_rows if any((tmp_path / "out/data").iterdir()) else 0
        assert rows >= kept
        kept = rows
    run(dataset, tmp_path / "out", SociableEngine(), **PLAN)
    assert same_as_undisturbed(tmp_path)


def test_a_run_whose_device_failed_goes_on(dataset: Dataset, tmp_path: Path, undisturbed: SociableEngine) -> None:
    for call in (2, 4):
        with pytest.raises(DeviceError):
            run(dataset, tmp_path / "out", SociableEngine(call=call, error=DeviceError("unplugged")), **PLAN)
    run(dataset, tmp_path / "out", SociableEngine(), **PLAN)
    assert same_as_undisturbed(tmp_path)


def test_parts_that_are_done_are_not_touched(dataset: Dataset, tmp_path: Path, undisturbed: SociableEngine) -> None:
    stopped_in_call(dataset, tmp_path / "out", 4)
    part = tmp_path / "out/data/part-00000.parquet"
    before = part.read_bytes(), part.stat().st_mtime_ns
    engine = SociableEngine()
    run(dataset, tmp_path / "out", engine, **PLAN)
    assert (part.read_bytes(), part.stat().st_mtime_ns) == before
    assert engine.images_prepared == 4


@pytest.mark.fault("damaged or missing parts and markers")
def test_a_damaged_part_is_made_again(
    dataset: Dataset, tmp_path: Path, undisturbed: SociableEngine, caplog: pytest.LogCaptureFixture
) -> None:
    run(dataset, tmp_path / "out", SociableEngine(), **PLAN)
    part = tmp_path / "out/data/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-10])
    engine = SociableEngine()
    run(dataset, tmp_path / "out", engine, **PLAN)
    assert same_as_undisturbed(tmp_path)
    assert 0 < len(engine.batches) < len(undisturbed.batches)


def changed_input(dataset: Dataset) -> dict[str, Any]:
    dataset.region(1)
    return {}


@pytest.mark.fault("another input, model or setting on the same directory")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda dataset: {"seed": 7}, "--seed was 0, now it is 7"),
        (lambda dataset: {"decode": DecodeSettings(steps=8)}, "--steps was 32, now it is 8"),
        (lambda dataset: {"part_rows": 5}, "--part-rows was 9, now it is 5"),
        (lambda dataset: {"limit": 2}, "--limit was not given, now it is 2"),
        (lambda dataset: {"shard": (0, 2)}, "--shard was not given, now it is 0/2"),
        (changed_input, "the input was"),
    ],
)
def test_another_run_is_refused(
    dataset: Dataset, tmp_path: Path, change: Callable[[Dataset], dict[str, Any]], told: str
) -> None:
    many(dataset, REGIONS)
    stopped_in_call(dataset, tmp_path / "out", 2)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet")}
    with pytest.raises(ConfigError, match="pass --overwrite") as caught:
        run(dataset, tmp_path / "out", SociableEngine(), **PLAN | change(dataset))
    assert told in str(caught.value)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet")} == before


@pytest.mark.fault("another input, model or setting on the same directory")
def test_the_same_file_in_another_format_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, REGIONS)
    for image in dataset.coco["images"]:
        image["coco_url"] = f"http://nowhere/{image['file_name']}"
    stopped_in_call(dataset, tmp_path / "out", 2)
    with pytest.raises(ConfigError, match="--format was coco-instances, now it is lvis"):
        run(dataset, tmp_path / "out", SociableEngine(), **PLAN, format="lvis")


def test_another_model_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, REGIONS)
    stopped_in_call(dataset, tmp_path / "out", 2)
    engine = SociableEngine()
    engine.model_sha256 = "1" * 64
    with pytest.raises(ConfigError, match="the model was stub"):
        run(dataset, tmp_path / "out", engine, **PLAN)


def test_what_changes_no_row_may_change(dataset: Dataset, tmp_path: Path, undisturbed: SociableEngine) -> None:
    stopped_in_call(dataset, tmp_path / "out", 2)
    run(dataset, tmp_path / "out", SociableEngine(), **PLAN, workers=1, max_error_rate=0.5)
    assert same_as_undisturbed(tmp_path)


def test_the_run_keeps_its_name(dataset: Dataset, tmp_path: Path, undisturbed: SociableEngine) -> None:
    def facts() -> dict[str, Any]:
        return json.loads((tmp_path / "out/_pdlm/run.json").read_text())

    stopped_in_call(dataset, tmp_path / "out", 2)
    before = facts()
    run(dataset, tmp_path / "out", SociableEngine(), **PLAN, workers=1)
    assert (facts()["run_id"], facts()["created_at"]) == (before["run_id"], before["created_at"])
    assert facts()["job"]["workers"] == 1
    schemas = [pq.read_schema(part).metadata for part in (tmp_path / "out/data").iterdir()]
    assert {schema[b"pdlm.run_id"].decode() for schema in schemas} == {before["run_id"]}
    events = [json.loads(line).get("event") for line in (tmp_path / "out/_pdlm/log.jsonl").read_text().splitlines()]
    assert (events.count("start"), events.count("resume"), events.count("end")) == (1, 1, 2)


def test_rows_of_a_part_keep_the_order_of_the_input() -> None:
    def rows(*keys: str, attempt: int = 1) -> list[Any]:
        return [SimpleNamespace(region_key=key, attempt=attempt) for key in keys]

    def shown(merged: list[Any]) -> list[str]:
        return [f"{row.region_key}{row.attempt}" for row in merged]

    assert shown(merge(rows("a", "b"), rows("a", "b", "c"))) == ["a1", "b1", "c1"]
    assert shown(merge(rows("a", "b", "c"), rows("a"))) == ["a1", "b1", "c1"]
    assert shown(merge(rows("a", "b", "c"), rows("b", attempt=2))) == ["a1", "b2", "c1"]
    assert shown(merge([], rows("b", "a"))) == ["b1", "a1"]


# --- error rows once more ---------------------------------------------------------------------------------------------


@pytest.fixture
def with_errors(dataset: Dataset, tmp_path: Path) -> list[dict[str, Any]]:
    """The rows of a run of which three pictures were missing, and are there now."""
    many(dataset, REGIONS)
    lost = {name: (dataset.folder / name).read_bytes() for name in ("2.png", "4.png", "7.png")}
    dataset.region(1, "nonsense")
    for name in lost:
        (dataset.folder / name).unlink()
    run(dataset, tmp_path / "out", SociableEngine(), **PLAN)
    for name, data in lost.items():
        (dataset.folder / name).write_bytes(data)
    return rows_of(tmp_path / "out")


@pytest.mark.fault("error rows")
def test_error_rows_are_tried_again_and_ok_rows_stay(
    dataset: Dataset, tmp_path: Path, with_errors: list[dict[str, Any]]
) -> None:
    report = run(dataset, tmp_path / "out", SociableEngine(), **PLAN, retry_errors=True)
    after = rows_of(tmp_path / "out")
    assert [row["region_key"] for row in after] == [row["region_key"] for row in with_errors]
    for old, new in zip(with_errors, after, strict=True):
        if old["status"] == "ok":
            assert new == old
        else:
            assert new["attempt"] == 2
            assert (new["status"] == "ok") == (old["error_code"] == "missing_image")
            assert new["finished_at"] > old["finished_at"]
    assert (report.ok, dict(report.errors), report.made) == (25, {"bad_mask": 1}, 14)
    assert report.exit_code == 3
    third = run(dataset, tmp_path / "out", SociableEngine(), **PLAN, retry_errors=True)
    assert third.made == 1
    assert sorted({row["attempt"] for row in rows_of(tmp_path / "out")}) == [1, 2, 3]


def test_trying_again_may_be_stopped(dataset: Dataset, tmp_path: Path, with_errors: list[dict[str, Any]]) -> None:
    made = []
    for call in (1, 1, 1, 9):
        stop = StopSignals()
        report = run(
            dataset, tmp_path / "out", SociableEngine(stop, call), stop, **PLAN | {"batch_size": 1}, retry_errors=True
        )
        made.append(report.made)
        rows = rows_of(tmp_path / "out")
        assert [row["region_key"] for row in rows] == [row["region_key"] for row in with_errors]
        assert all(old == new for old, new in zip(with_errors, rows, strict=True) if old["status"] == "ok")
        assert {row["attempt"] for row in rows} <= {1, 2}
    assert sum(made) == 14  # every error row once, none twice
    assert report.exit_code == 3
    assert not [row for row in rows if row["error_code"] == "missing_image"]


def test_a_run_without_errors_has_none_to_try_again(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, REGIONS)
    run(dataset, tmp_path / "out", SociableEngine(), **PLAN)
    engine = SociableEngine()
    assert run(dataset, tmp_path / "out", engine, **PLAN, retry_errors=True).exit_code == 0
    assert engine.batches == []
