import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pdlm_cli import atomic
from pdlm_cli.atomic import write_atomic
from pdlm_cli.errors import ConfigError, LockedError, OutputError
from pdlm_cli.run_dir import RunDir
from tests.cli.test_parquet import ERROR, OK


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_run_has_the_documented_layout(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with RunDir(out, overwrite=False) as run:
        run.start({"run_id": "r"})
        run.commit(0, [OK, ERROR], {"pdlm.run_id": "r"}, complete=True)
        run.finish({"rows": 2}, success=True)
    assert everything(out) == {
        "data/part-00000.parquet",
        "_pdlm/run.json",
        "_pdlm/done/00000.json",
        "_pdlm/stats.json",
        "_pdlm/lock",
        "_SUCCESS",
    }
    part = (out / "data/part-00000.parquet").read_bytes()
    assert json.loads((out / "_pdlm/done/00000.json").read_text()) == {
        "part": "part-00000.parquet",
        "complete": True,
        "images": 1,
        "rows": 2,
        "ok": 1,
        "errors": 1,
        "error_codes": {"bad_mask": 1},
        "skipped": 0,
        "bytes": len(part),
        "sha256": hashlib.sha256(part).hexdigest(),
    }
    assert pq.read_table(out / "data").num_rows == 2


def test_without_success_there_is_no_success_file(tmp_path: Path) -> None:
    with RunDir(tmp_path / "out", overwrite=False) as run:
        run.start({})
        run.finish({}, success=False)
    assert not (tmp_path / "out/_SUCCESS").exists()


FACTS = {"run_id": "earlier", "config": {}, "plan": {}, "hashes": {}}


def earlier_run(out: Path) -> None:
    with RunDir(out, overwrite=False) as run:
        run.start(FACTS)
        for part in range(3):
            run.commit(part, [OK], {}, complete=True)
        run.finish({}, success=True)
    (out / "data/.part-00003.parquet.tmp").write_bytes(b"half")


def test_a_directory_with_a_run_is_read_and_left_alone(tmp_path: Path) -> None:
    earlier_run(tmp_path)
    before = everything(tmp_path)
    with RunDir(tmp_path, overwrite=False) as run:
        assert run.earlier == FACTS
        assert sorted(run.markers) == [0, 1, 2]
    assert everything(tmp_path) == before


def test_going_on_removes_what_is_no_part_of_the_run(tmp_path: Path) -> None:
    earlier_run(tmp_path)
    for name in ("data/part-00007.parquet", "_pdlm/done/.00003.json.tmp", "_pdlm/.run.json.tmp", "captions.csv"):
        (tmp_path / name).write_bytes(b"half")
    with RunDir(tmp_path, overwrite=False) as run:
        run.resume(FACTS)
    parts = {f"data/part-{part:05d}.parquet" for part in range(3)} | {
        f"_pdlm/done/{part:05d}.json" for part in range(3)
    }
    assert everything(tmp_path) == parts | {"_pdlm/run.json", "_pdlm/lock"}


@pytest.mark.fault("damaged or missing parts and markers")
@pytest.mark.parametrize(
    ("damage", "warning"),
    [
        (lambda out: (out / "data/part-00001.parquet").unlink(), "part-00001.parquet is missing"),
        (lambda out: os.truncate(out / "data/part-00001.parquet", 40), "is not the file"),
        (lambda out: flip_a_byte(out / "data/part-00001.parquet"), "is not the file"),
        (lambda out: (out / "_pdlm/done/00001.json").unlink(), "is not the file"),
        (lambda out: os.truncate(out / "_pdlm/done/00001.json", 30), "is not the file"),
        (lambda out: (out / "_pdlm/done/00001.json").write_text('{"part": 1}'), "is not the file"),
    ],
)
def test_markers_are_believed_only_with_their_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object], warning: str
) -> None:
    earlier_run(tmp_path)
    damage(tmp_path)
    with RunDir(tmp_path, overwrite=False) as run:
        assert sorted(run.markers) == [0, 2]
        assert warning in caplog.text
        run.resume(FACTS)
    assert not (tmp_path / "data/part-00001.parquet").exists()
    assert not (tmp_path / "_pdlm/done/00001.json").exists()


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run_id": "r"}'])
def test_a_damaged_run_json_is_told(tmp_path: Path, content: str) -> None:
    earlier_run(tmp_path)
    (tmp_path / "_pdlm/run.json").write_text(content)
    with pytest.raises(ConfigError, match="--overwrite"):
        RunDir(tmp_path, overwrite=False)


def test_overwrite_replaces_the_run_when_the_new_one_starts(tmp_path: Path) -> None:
    earlier_run(tmp_path)
    with RunDir(tmp_path, overwrite=True) as run:
        assert (tmp_path / "_SUCCESS").exists()
        run.start({"run_id": "new"})
        assert everything(tmp_path) == {"_pdlm/run.json", "_pdlm/lock"}
    assert json.loads((tmp_path / "_pdlm/run.json").read_text()) == {"run_id": "new"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/part-00000.parquet").write_bytes(b"not ours")
    with pytest.raises(ConfigError, match="files that no run wrote"):
        RunDir(tmp_path, overwrite=overwrite)
    assert (tmp_path / "data/part-00000.parquet").read_bytes() == b"not ours"


def test_a_held_lock_is_told_with_its_holder_and_ends_with_the_run(tmp_path: Path) -> None:
    with RunDir(tmp_path, overwrite=False), pytest.raises(LockedError, match=f"process {os.getpid()}"):
        RunDir(tmp_path, overwrite=True)
    with RunDir(tmp_path, overwrite=False):
        pass


def test_a_refused_directory_is_not_left_locked(tmp_path: Path) -> None:
    earlier_run(tmp_path)
    (tmp_path / "_pdlm/run.json").write_text("")
    with pytest.raises(ConfigError):
        RunDir(tmp_path, overwrite=False)
    with open(tmp_path / "_pdlm/lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_output_that_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write to .*--output") as caught:
        RunDir(tmp_path / "file" / "out", overwrite=False)
    assert caught.value.exit_code == 5


def test_a_write_is_whole_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "part"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert everything(tmp_path) == {"part"}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "part"
    write_atomic(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, step, full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert everything(tmp_path) == {"part"}


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="a pipe would be replaced"):
        write_atomic(tmp_path / "pipe", b"new")
    assert (tmp_path / "pipe").is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_part_is_there_before_its_marker_and_under_its_name_only_when_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        renamed.append((source.name, target.name))
        assert not target.exists()
        replace(source, target)

    with RunDir(tmp_path, overwrite=False) as run:
        run.start({})
        monkeypatch.setattr(atomic.os, "replace", watched)
        run.commit(7, [OK], {}, complete=True)
    assert renamed == [
        (".part-00007.parquet.tmp", "part-00007.parquet"),
        (".00007.json.tmp", "00007.json"),
    ]
