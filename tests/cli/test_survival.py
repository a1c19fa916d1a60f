"""What a machine does to a run: full disks, read-only folders, signals, closed pipes, nothing where something is usual.

Mounts and process numbers of their own come from `unshare`, which root may use, and others where the kernel lets them.
"""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cli.processes import dry, small_squares
from tests.cli.runs import rows_of
from tests.cli.support import REPOSITORY, Dataset
from tests.repo.files import repository_files

PDLM = [sys.executable, "-m", "pdlm_cli"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
CANNOT = (
    "this machine does not let `unshare` make mounts or process numbers of their own, so this cannot be seen here: run "
    "it as root, or leave it out with `-k 'not survival'`"
)


def call(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"env": ENVIRONMENT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([*map(str, command)], text=True, check=False, **options)


def pdlm(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return call(*PDLM, *arguments, **options)


def in_namespace(script: str, *arguments: object, spaces: tuple[str, ...] = ("--mount",)) -> None:
    """Run a shell script that may mount; 99 is its exit code where the mount is refused."""
    done = call(*UNSHARE, *spaces, "sh", "-euc", script, "sh", *arguments)
    assert done.returncode != 99 and "unshare:" not in done.stderr, f"{CANNOT}\n{done.stderr}"
    assert done.returncode == 0, done.stderr


def no_half_files(out: Path) -> bool:
    """Every part opens and has its marker; nothing is empty or under a temporary name."""
    files = [*out.glob("data/*"), *out.glob("_pdlm/done/*")]
    rows = [pq.read_table(part).num_rows for part in out.glob("data/*")]
    markers = [json.loads(marker.read_text())["rows"] for marker in out.glob("_pdlm/done/*")]
    return all(file.stat().st_size and not file.name.startswith(".") for file in files) and sorted(rows) == sorted(
        markers
    )


FULL_DISK = """
disk=$1; seen=$2; shift 2
mount -t tmpfs -o size=1m tmpfs "$disk" || exit 99
head -c 950000 /dev/zero > "$disk/filler"
code=0; "$@" 2> "$seen/stderr" || code=$?
echo $code > "$seen/code"
cp -a "$disk/out" "$seen/full"
rm "$disk/filler"
code=0; "$@" 2>> "$seen/stderr" || code=$?
echo $code >> "$seen/code"
cp -a "$disk/out" "$seen/resumed"
"""


@pytest.mark.fault("disk full")
def test_a_full_disk(dataset: Dataset, tmp_path: Path, seen: Any) -> None:
    small_squares(dataset, 12)
    disk, notes = tmp_path / "disk", tmp_path / "notes"
    disk.mkdir()
    notes.mkdir()
    in_namespace(FULL_DISK, disk, notes, *PDLM, *dry(dataset, disk / "out", "--part-rows", 3))
    said = (notes / "stderr").read_text()
    assert (notes / "code").read_text().split() == ["5", "0"], said
    assert "No space left on device" in said and "Traceback" not in said
    assert no_half_files(notes / "full")
    rows = rows_of(notes / "resumed")
    assert [row["source_index"] for row in rows] == list(range(24))
    kept = rows_of(notes / "full")
    assert 0 < len(kept) < len(rows) and rows[: len(kept)] == kept
    seen(f"1 MB tmpfs: exit 5 after {len(kept)} of {len(rows)} rows, no half file; goes on when there is room")


@pytest.mark.fault("a file may not grow any more (quota)")
def test_a_file_size_limit(dataset: Dataset, tmp_path: Path, seen: Any) -> None:
    small_squares(dataset, 4)
    limited = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]
    arguments = dry(dataset, tmp_path / "out", "--part-rows", 1)
    done = call(*limited, *PDLM, *arguments)
    assert done.returncode == 5, done.stderr
    assert "File too large; what was committed before is intact" in done.stderr and "Traceback" not in done.stderr
    assert no_half_files(tmp_path / "out")
    seen("exit 5, no half file")


READ_ONLY = """
folder=$1; seen=$2; shift 2
mount -t tmpfs tmpfs "$folder" || exit 99
mount -o remount,ro "$folder"
code=0; "$@" 2> "$seen/stderr" || code=$?
echo $code > "$seen/code"
"""


@pytest.mark.fault("read-only output")
def test_a_read_only_output(dataset: Dataset, tmp_path: Path, seen: Any) -> None:
    small_squares(dataset, 1)
    folder = tmp_path / "folder"
    folder.mkdir()
    in_namespace(READ_ONLY, folder, tmp_path, *PDLM, *dry(dataset, folder / "out"))
    said = (tmp_path / "stderr").read_text()
    assert (tmp_path / "code").read_text().strip() == "5", said
    assert "Read-only file system" in said and "--output" in said and "Traceback" not in said
    seen("exit 5, names --output")


BARE = """
folder=$1; seen=$2; shift 2
mount --make-rprivate / && mount -t tmpfs tmpfs "$folder" || exit 99
mkdir "$folder/out"
mount -o remount,bind,ro / || exit 99
cd "$folder/out"
code=0; env -u HOME -u USER -u TMPDIR "$@" 2> "$folder/out/stderr" || code=$?
mount -o remount,bind,rw /
echo $code > "$seen/code"
cp -a "$folder/out/." "$seen/"
"""


@pytest.mark.fault("no HOME, read-only root file system, no network")
def test_a_bare_container(dataset: Dataset, tmp_path: Path, seen: Any) -> None:
    small_squares(dataset, 2)
    folder, notes = tmp_path / "folder", tmp_path / "notes"
    folder.mkdir()
    notes.mkdir()
    in_namespace(BARE, folder, notes, *PDLM, *dry(dataset, "out"), spaces=("--mount", "--net"))
    said = (notes / "stderr").read_text()
    assert (notes / "code").read_text().strip() == "0", said
    assert "Traceback" not in said
    assert len(rows_of(notes / "out")) == 3
    seen("works")


@pytest.fixture
def many_images(dataset: Dataset) -> Dataset:
    return small_squares(dataset, 200)


def stopped_by(process: subprocess.Popen[str], pid: int, number: int, out: Path) -> str:
    """Send a signal once the first part is there; what the process said."""
    deadline = time.monotonic() + 300
    while not (out / "_pdlm/done/00000.json").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.02)
    os.kill(pid, number)
    return process.communicate(timeout=300)[1]


@pytest.mark.fault("SIGTERM or SIGINT")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_and_the_same_command_again(
    many_images: Dataset, tmp_path: Path, number: int, code: int, seen: Any
) -> None:
    arguments = [*map(str, dry(many_images, tmp_path / "out", "--part-rows", 2))]
    process = subprocess.Popen([*PDLM, *arguments], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    said = stopped_by(process, process.pid, number, tmp_path / "out")
    assert process.returncode == code, said
    assert "the same command goes on" in said and "Traceback" not in said
    assert no_half_files(tmp_path / "out")
    rows = len(rows_of(tmp_path / "out"))
    assert pdlm(*arguments).returncode == 0
    assert [row["source_index"] for row in rows_of(tmp_path / "out")] == list(range(399))
    seen(f"exit {code} with {rows} rows committed; the same command goes on")


@pytest.mark.fault("SIGTERM as PID 1")
def test_a_signal_to_the_first_process_of_a_container(many_images: Dataset, tmp_path: Path, seen: Any) -> None:
    arguments = [*map(str, dry(many_images, tmp_path / "out", "--part-rows", 2))]
    script = 'test $$ = 1 && exec "$@"'
    command = [*UNSHARE, "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", *PDLM, *arguments]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and not children.read_text().strip():
        time.sleep(0.02)
    assert process.poll() is None, f"{CANNOT}\n{process.communicate()[1]}"
    said = stopped_by(process, int(children.read_text().split()[0]), signal.SIGTERM, tmp_path / "out")
    assert process.returncode == 143, said
    assert no_half_files(tmp_path / "out") and "Traceback" not in said
    seen("exit 143, what was done is committed")


@pytest.mark.fault("two runs on one directory")
def test_the_second_run_on_a_directory_leaves(many_images: Dataset, tmp_path: Path, seen: Any) -> None:
    arguments = dry(many_images, tmp_path / "out", "--part-rows", 2)
    first = subprocess.Popen([*PDLM, *map(str, arguments)], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "out/_pdlm/run.json").exists():
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.02)
        os.kill(first.pid, signal.SIGSTOP)
        second = pdlm(*arguments)
        assert second.returncode == 7, second.stderr
        assert f"process {first.pid}" in second.stderr
    finally:
        first.kill()
        first.communicate()
    seen("the second exits 7 and names the first")


@pytest.mark.fault("nobody reads stdout or stderr")
def test_nobody_listens(dataset: Dataset, tmp_path: Path, seen: Any) -> None:
    small_squares(dataset, 3)
    read, write = os.pipe()
    os.close(read)
    done = pdlm(*dry(dataset, tmp_path / "out", "--json"), stdout=write, stderr=write)
    os.close(write)
    assert done.returncode == 0
    assert (tmp_path / "out/_SUCCESS").exists()
    seen("works")


@pytest.mark.fault("stdin, stdout and stderr closed, no terminal")
def test_no_standard_streams(dataset: Dataset, tmp_path: Path, seen: Any) -> None:
    small_squares(dataset, 3)
    script = 'exec "$@" 0<&- 1>&- 2>&-'
    arguments = dry(dataset, tmp_path / "out", "--json", "--also", "csv")
    done = call("sh", "-c", script, "sh", *PDLM, *arguments, start_new_session=True)
    assert done.returncode == 0
    assert len(rows_of(tmp_path / "out")) == 6
    assert len((tmp_path / "out/captions.csv").read_text().splitlines()) == 7
    seen("works")


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield f"{getattr(node.func.value, 'id', '')}.{node.func.attr}"


@pytest.mark.fault("clock jumps")
def test_durations_come_from_clocks_that_do_not_jump(seen: Any) -> None:
    files = [path for path in repository_files() if path.parts[-2] in ("pdlm_cli", "model") and path.suffix == ".py"]
    assert files
    assert [path for path in files if "time.time" in calls(ast.parse(path.read_text()))] == []
    seen("no duration is taken from the wall clock")
