"""The pipeline with a stub for the network."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pdlm_cli.errors import DeviceError
from pdlm_cli.signals import StopSignals
from tests.cli.runs import many, rows_of, run
from tests.cli.support import Dataset, StubEngine, box_mask, rle


def test_rows_are_in_input_order_and_passes_are_balanced(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [4, 1, 2])
    report = run(dataset, tmp_path / "out", StubEngine())
    rows = rows_of(tmp_path / "out")
    assert [row["source_index"] for row in rows] == list(range(7))
    assert [row["image_id"] for row in rows] == ["1"] * 4 + ["2"] + ["3"] * 2
    assert [row["pass_size"] for row in rows] == [2, 2, 2, 2, 1, 2, 2]
    assert len({row["pass_id"] for row in rows}) == 4
    assert len({row["region_key"] for row in rows}) == 7
    for row in rows:
        assert row["caption"].startswith(f"area {row['mask_area_px']} ")
        assert row["status"] == "ok"
        assert (row["image_width"], row["image_height"], row["category"]) == (40, 30, "thing")
    assert (report.exit_code, report.ok, report.images, report.passes) == (0, 7, 3, 4)


def test_batches_are_filled_over_image_boundaries(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [4, 1, 2, 1])
    engine = StubEngine()
    run(dataset, tmp_path / "out", engine, batch_size=2)
    assert engine.batches == [[2, 2], [1, 2], [1]]
    assert engine.images_prepared == 4


def test_shares_of_time_add_up_to_the_batch(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [4, 1])
    run(dataset, tmp_path / "out", StubEngine(), batch_size=8)
    rows = rows_of(tmp_path / "out")
    assert sum(row["pass_share_ms"] for row in rows) == pytest.approx(rows[0]["pass_ms"], rel=1e-4)


@pytest.mark.parametrize("changes", [{"workers": 5}, {"batch_size": 7}, {"workers": 1, "batch_size": 1}])
def test_what_is_written_does_not_depend_on_workers_or_batches(
    dataset: Dataset, tmp_path: Path, changes: dict[str, int]
) -> None:
    many(dataset, [4, 1, 2, 5, 3])
    run(dataset, tmp_path / "a", StubEngine())
    run(dataset, tmp_path / "b", StubEngine(), **changes)
    assert rows_of(tmp_path / "a", times=False) == rows_of(tmp_path / "b", times=False)


def test_a_limited_run_is_the_beginning_of_the_full_one(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [4, 1, 2])
    run(dataset, tmp_path / "all", StubEngine())
    run(dataset, tmp_path / "some", StubEngine(), limit=2)
    assert rows_of(tmp_path / "some", times=False) == rows_of(tmp_path / "all", times=False)[:5]


def test_the_order_of_the_input_changes_no_caption(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [7])
    run(dataset, tmp_path / "a", StubEngine())
    dataset.coco["annotations"].reverse()
    run(dataset, tmp_path / "b", StubEngine())

    def by_key(out: Path) -> dict[str, tuple[str, str, int]]:
        return {row["region_key"]: (row["caption"], row["pass_id"], row["pass_slot"]) for row in rows_of(out)}

    assert by_key(tmp_path / "a") == by_key(tmp_path / "b")


def test_seeds_belong_to_regions_and_follow_the_seed_of_the_run(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [3])
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(dataset, tmp_path / name, StubEngine(), seed=seed)
    captions = {name: [row["caption"] for row in rows_of(tmp_path / name)] for name in "abc"}
    assert captions["a"] == captions["b"]
    assert not set(captions["a"]) & set(captions["c"])
    assert len({caption.split()[-1] for caption in captions["a"]}) == 3


def test_every_way_to_write_a_mask_gives_the_same_row(dataset: Dataset, tmp_path: Path) -> None:
    mask = box_mask(40, 30, 3, 2, 6, 5)
    runs = [3 * 30 + 2, *[5, 25] * 5, 5, 31 * 30 + 23]
    image = dataset.image()
    dataset.region(image, rle(mask))
    dataset.region(image, {"size": [30, 40], "counts": runs}, iscrowd=1)
    dataset.region(image, [[3, 2, 9, 2, 9, 7, 3, 7]])
    dataset.region(image, [[3, 2, 6, 2, 6, 7, 3, 7], [6, 2, 9, 2, 9, 7, 6, 7]])
    run(dataset, tmp_path / "out", StubEngine(max_regions=6))
    rows = rows_of(tmp_path / "out")
    assert [(row["mask_area_px"], row["bbox_xywh"]) for row in rows] == [(30, [3, 2, 6, 5])] * 4


def test_an_input_without_regions_is_an_empty_table(dataset: Dataset, tmp_path: Path) -> None:
    dataset.image()
    assert run(dataset, tmp_path / "out", StubEngine()).exit_code == 0
    assert rows_of(tmp_path / "out") == []


def test_parts_hold_whole_images(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [2, 2, 2, 2, 1])
    engine = StubEngine()
    run(dataset, tmp_path / "out", engine, part_rows=3, batch_size=8)
    parts = sorted((tmp_path / "out/data").iterdir())
    assert [pq.read_table(part).num_rows for part in parts] == [4, 4, 1]
    assert engine.batches == [[2, 2], [2, 2], [1]]
    metadata = [pq.read_schema(part).metadata for part in parts]
    facts = json.loads((tmp_path / "out/_pdlm/run.json").read_text())
    assert all(found == metadata[0] for found in metadata)
    assert metadata[0][b"pdlm.run_id"].decode() == facts["run_id"]
    assert metadata[0][b"pdlm.config_sha256"].decode() == facts["hashes"]["config"]
    assert metadata[0][b"pdlm.model_sha256"].decode() == facts["hashes"]["model"]


class SignalledEngine(StubEngine):
    """Receives a stop signal in its n-th call."""

    def __init__(self, stop: StopSignals, call: int) -> None:
        super().__init__()
        self.stop = stop
        self.call = call

    def caption(self, passes: list[Any]) -> list[Any]:
        if len(self.batches) + 1 == self.call:
            self.stop.received = 15
        return super().caption(passes)


def test_a_signal_finishes_the_pass_and_commits_whole_images(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [2, 2, 2, 5, 2])
    run(dataset, tmp_path / "all", StubEngine(), part_rows=4)
    stop = StopSignals()
    engine = SignalledEngine(stop, 4)
    report = run(dataset, tmp_path / "out", engine, stop, part_rows=4, batch_size=1)
    assert len(engine.batches) == 4
    assert report.exit_code == 143
    assert rows_of(tmp_path / "out", times=False) == rows_of(tmp_path / "all", times=False)[:6]
    markers = [json.loads(path.read_text()) for path in sorted((tmp_path / "out/_pdlm/done").iterdir())]
    assert [(marker["rows"], marker["complete"]) for marker in markers] == [(4, True), (2, False)]
    assert not (tmp_path / "out/_SUCCESS").exists()
    assert json.loads((tmp_path / "out/_pdlm/stats.json").read_text())["interrupted"]


class FailingEngine(StubEngine):
    def caption(self, passes: list[Any]) -> list[Any]:
        if len(self.batches) == 2:
            raise DeviceError("the device failed: it is unplugged")
        return super().caption(passes)


def test_what_was_done_before_the_device_failed_is_kept(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [2, 2, 2])
    with pytest.raises(DeviceError) as caught:
        run(dataset, tmp_path / "out", FailingEngine(), batch_size=1)
    assert caught.value.exit_code == 6
    assert len(rows_of(tmp_path / "out")) == 4
    assert not json.loads((tmp_path / "out/_pdlm/done/00000.json").read_text())["complete"]


def test_images_that_ended_in_a_batch_of_a_large_one_are_kept_too(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [2, 9])
    with pytest.raises(DeviceError):
        run(dataset, tmp_path / "out", FailingEngine(max_regions=2), batch_size=2)
    assert [row["image_id"] for row in rows_of(tmp_path / "out")] == ["1", "1"]


class UnevenEngine(StubEngine):
    """Takes three calls at once; calls with large passes take longer. most: calls that were under way together."""

    def __init__(self) -> None:
        super().__init__(parallel=3)
        self.under_way, self.most, self.lock = 0, 0, threading.Lock()

    def caption(self, passes: list[Any]) -> list[Any]:
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        time.sleep(0.02 * len(passes[0]))
        with self.lock:
            self.under_way -= 1
        return super().caption(passes)


def test_calls_that_run_side_by_side_leave_rows_in_order(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [3, 1, 2, 1, 3, 1, 1, 4, 1])
    engine = UnevenEngine()
    report = run(dataset, tmp_path / "a", engine, batch_size=1, part_rows=11)
    run(dataset, tmp_path / "b", StubEngine(), batch_size=1, part_rows=11)
    assert rows_of(tmp_path / "a", times=False) == rows_of(tmp_path / "b", times=False)
    assert engine.most == 3
    assert (report.passes, report.ok) == (10, 17)


def test_a_device_does_not_wait_for_the_others_at_the_end_of_a_part(dataset: Dataset, tmp_path: Path) -> None:
    """A part an image, a call a part: three of them side by side, and batches as if it had been one by one."""
    many(dataset, [3, 1, 2, 1, 3, 1])
    engine, alone = UnevenEngine(), StubEngine()
    run(dataset, tmp_path / "a", engine, batch_size=4, part_rows=1)
    run(dataset, tmp_path / "b", alone, batch_size=4, part_rows=1)
    assert rows_of(tmp_path / "a", times=False) == rows_of(tmp_path / "b", times=False)
    assert len(list((tmp_path / "a/data").iterdir())) == 6
    assert engine.most == 3
    assert sorted(engine.batches) == sorted(alone.batches) == [[1], [1], [1], [2], [3], [3]]


class HalfFailingEngine(StubEngine):
    """Takes two calls at once; the second fails while the first is under way."""

    def __init__(self) -> None:
        super().__init__(parallel=2)
        self.failing = threading.Event()

    def caption(self, passes: list[Any]) -> list[Any]:
        if len(passes[0]) == 1:
            self.failing.set()
            raise DeviceError("the device failed: it is unplugged")
        assert self.failing.wait(10)
        time.sleep(0.05)
        return super().caption(passes)


def test_what_was_under_way_when_another_call_failed_is_kept(dataset: Dataset, tmp_path: Path) -> None:
    many(dataset, [2, 1])
    with pytest.raises(DeviceError):
        run(dataset, tmp_path / "out", HalfFailingEngine(), batch_size=1)
    assert [row["image_id"] for row in rows_of(tmp_path / "out")] == ["1", "1"]
