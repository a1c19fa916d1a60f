"""`pdlm data scenes`: real files, written and read back by what they are meant for."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from pdlm_cli import masks
from pdlm_cli.data_engine.generation import SHARD
from pdlm_cli.data_engine.levels import LEVELS
from pdlm_cli.data_engine.scene import draw_scene
from pdlm_cli.main import main
from pdlm_cli.manifest import open_manifest

COUNT = 12
ROOT = Path(__file__).parents[2]


def draw(out: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", "scenes", str(out), "--workers", "1", *map(str, arguments)])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen full scenes in every format."""
    out = tmp_path_factory.mktemp("drawn") / "scenes"
    formats = [word for name in ("json", "parquet", "coco", "paradlc") for word in ("--format", name)]
    result = draw(out, "--count", COUNT, "--seed", 5, "--split", "val", *formats, "--preview", out / "look.png")
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    return [draw_scene(5, index, split="val") for index in range(COUNT)]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_training_json_and_pictures_are_the_scenes(drawn: Path, expected: list[Any]) -> None:
    entries = read(drawn / "scenes.json")
    assert len(entries) == COUNT
    for entry, scene in zip(entries, expected, strict=True):
        with Image.open(drawn / entry["image"]) as picture:
            assert picture.mode == "RGB"
            assert (np.asarray(picture) == scene.picture).all()
        assert entry["captions"] == scene.captions
        decoded = [masks.decode(rle, entry["width"], entry["height"]) for rle in entry["mask_rles"]]
        assert (np.stack(decoded) == scene.masks).all()
        assert (coco_mask.decode(entry["mask_rles"]).transpose(2, 0, 1) == scene.masks).all()
        assert [item["kind"] for item in entry["objects"]] == [item.kind.name for item in scene.objects]


def test_conversations_start_with_the_picture_and_alternate(drawn: Path, expected: list[Any]) -> None:
    for entry, scene in zip(read(drawn / "scenes.json"), expected, strict=True):
        turns = entry["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * len(scene.questions)
        assert turns[0]["value"] == f"<image>\n{scene.questions[0].text}"
        assert [turn["value"] for turn in turns[1::2]] == [question.answer for question in scene.questions]


def test_parquet_holds_the_same_with_the_pictures(drawn: Path) -> None:
    rows = pq.read_table(drawn / "data").to_pylist()
    for row, entry in zip(rows, read(drawn / "scenes.json"), strict=True):
        image = row.pop("image")
        assert image["path"] == entry.pop("image")
        assert image["bytes"] == (drawn / image["path"]).read_bytes()
        assert row == entry


def test_coco_opens_in_pycocotools_and_in_pdlm(drawn: Path, expected: list[Any]) -> None:
    coco = COCO(str(drawn / "coco.json"))
    assert len(coco.getImgIds()) == COUNT
    for image_id, scene in zip(coco.getImgIds(), expected, strict=True):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image_id))
        assert len(annotations) == len(scene.objects)
        for annotation, item in zip(annotations, scene.objects, strict=True):
            assert (coco.annToMask(annotation) == item.mask).all()
            assert annotation["area"] == item.mask.sum()
            assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
            assert coco.loadCats(annotation["category_id"])[0]["name"] == item.kind.name
            assert annotation["caption"] == item.caption
    manifest = open_manifest(drawn / "coco.json")
    assert manifest.images == COUNT
    assert all((drawn / entry.file_name).exists() for entry in manifest)


def test_benchmark_files_have_the_published_shape(drawn: Path, expected: list[Any]) -> None:
    annotations, qa = read(drawn / "annotations.json"), read(drawn / "qa.json")
    names = read(drawn / "class_names.json")
    keys = []
    for image, scene in zip(annotations, expected, strict=True):
        assert list(image) == ["file_name", "height", "width", "image_id", "annotations"]
        assert isinstance(image["image_id"], str)
        assert (image["height"], image["width"]) == scene.picture.shape[:2]
        for region, item in zip(image["annotations"], scene.objects, strict=True):
            assert list(region) == ["index", "category_name", "bbox", "mask_rle"]
            assert region["bbox"] == list(item.box)
            assert (coco_mask.decode(region["mask_rle"]) == item.mask).all()
            keys.append(f"{image['image_id']}_{region['index']}")
            assert names[keys[-1]] == region["category_name"] == item.kind.name
    assert keys == list(qa) == list(names)
    assert all(questions[0]["type"] == "positive" for questions in qa.values())


def test_preview_shows_the_scenes(drawn: Path) -> None:
    with Image.open(drawn / "look.png") as sheet:
        assert sheet.width > 1000
        assert sheet.getcolors(maxcolors=1000) is None


def test_nothing_but_results_is_left(drawn: Path) -> None:
    files = {str(path.relative_to(drawn)) for path in drawn.rglob("*") if path.is_file() and path.suffix != ".png"}
    made = {"scenes.json", "coco.json", "annotations.json", "qa.json", "class_names.json", "data/part-00000.parquet"}
    assert files == made | {"_scenes/run.json", "_scenes/stats.json", "_scenes/lock"}


def test_the_same_command_again_does_nothing_and_another_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--count", 3, "--level", 0]
    assert draw(out, *arguments).exit_code == 0
    before = (out / "scenes.json").stat().st_mtime_ns
    again = draw(out, *arguments, "--json")
    assert again.exit_code == 0
    summary = json.loads(again.stdout)
    assert (summary["pictures"], summary["drawn"]) == (3, 0)
    assert (out / "scenes.json").stat().st_mtime_ns == before
    refused = draw(out, "--count", 4, "--level", 0)
    assert refused.exit_code == 2
    assert "count was 3, now it is 4. Pass --overwrite" in refused.output
    assert draw(out, "--count", 2, "--level", 0, "--overwrite").exit_code == 0
    assert len(read(out / "scenes.json")) == len(list((out / "images").iterdir())) == 2


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    result = draw(tmp_path, "--count", 1, "--overwrite")
    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_parquet_alone_needs_no_folder_of_pictures(tmp_path: Path) -> None:
    assert draw(tmp_path / "out", "--count", 2, "--level", 0, "--format", "parquet").exit_code == 0
    assert not (tmp_path / "out/images").exists()
    [first, _] = pq.read_table(tmp_path / "out/data").to_pylist()
    with Image.open(io.BytesIO(first["image"]["bytes"])) as picture:
        assert picture.size == (first["width"], first["height"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--level", len(LEVELS)],
        ["--size", 8],
        ["--objects", "many"],
        ["--objects", "3-2"],
        ["--objects", "0"],
        ["--objects", "2-11"],
        ["--seed", 2**32],
        ["--format", "jpeg"],
        ["--split", "dev"],
        ["--count", 0],
        ["--preview", "look.gif"],
    ],
)
def test_values_out_of_range_are_usage_errors(tmp_path: Path, arguments: list[object]) -> None:
    result = draw(tmp_path / "out", "--count", 1, *arguments)
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert draw(tmp_path / "file" / "out", "--count", 1).exit_code == 5


def test_help_explains_every_level_as_the_library_does() -> None:
    lines = draw(Path("x"), "--help").output.splitlines()
    for number, level in enumerate(LEVELS):
        assert f"    {number}  {level.summary}" in lines


def test_stopped_and_continued_equals_undisturbed(tmp_path: Path) -> None:
    """The signal reaches the workers too, as it does from a terminal or a job scheduler."""
    out, count = tmp_path / "out", 6 * SHARD
    arguments = ["data", "scenes", str(out), "--count", str(count), "--level", "0", "--size", "64", "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "pdlm_cli", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (out / "_scenes/records/00000.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr
    assert not (out / "scenes.json").exists()
    finished = CliRunner().invoke(main, [*arguments, "--workers", "1", "--json"])
    assert finished.exit_code == 0
    summary = json.loads(finished.stdout)
    assert summary["pictures"] == count
    assert summary["drawn"] < count
    entries = read(out / "scenes.json")
    for index in (0, SHARD, count - 1):
        scene = draw_scene(0, index, 0, 64)
        assert entries[index]["captions"] == scene.captions
        with Image.open(out / entries[index]["image"]) as picture:
            assert (np.asarray(picture) == scene.picture).all()
    assert len({entry["image_id"] for entry in entries}) == count


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom pdlm_cli.main import main\n"
        "try: main(['data', 'scenes', '--help'])\nexcept SystemExit: pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert not set(loaded.split()) & {"torch", "numpy", "PIL", "pyarrow", "pycocotools", "rich", "tokenizers"}
