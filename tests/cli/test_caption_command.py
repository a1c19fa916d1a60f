"""`pdlm caption` in process, with the recorded checkpoint in its released layout."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pdlm_cli import caption_job, checkpoints
from pdlm_cli.errors import DeviceError
from pdlm_cli.images import load_image
from pdlm_cli.main import main
from pdlm_cli.masks import decode
from tests.cli.support import CHECKPOINT, REPOSITORY, Dataset, rle
from tests.cli.test_help import ALL, examples
from tests.cli.tiny_sam import write_sam2

pytestmark = pytest.mark.usefixtures("in_process")

FAST = ["--model", str(CHECKPOINT), "--device", "cpu", "--steps", "2", "--length", "4"]


def caption(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["caption", *map(str, arguments)])


@pytest.fixture
def photo(tmp_path: Path) -> Dataset:
    """The example photo with its three masks, written as COCO by pycocotools."""
    source = REPOSITORY / "examples/photo"
    dataset = Dataset(tmp_path)
    with Image.open(source / "demo.jpg") as picture:
        width, height = picture.size
    image = dataset.image(width, height, name="demo.jpg", write=False)
    (tmp_path / "demo.jpg").write_bytes((source / "demo.jpg").read_bytes())
    for i in range(3):
        with Image.open(source / f"demo_mask_{i}.jpg") as mask:
            dataset.region(image, rle(np.asarray(mask.convert("L")) > 127))
    dataset.write()
    return dataset


def test_the_example_photo_gives_three_rows_that_every_reader_opens(photo: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = caption("--input", photo.file, "--output", out, *FAST, "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["rows"], summary["ok"], summary["errors"]) == (3, 3, {})

    table = pq.read_table(out / "data")
    assert table["status"].to_pylist() == ["ok"] * 3
    assert all(isinstance(text, str) for text in table["caption"].to_pylist())
    assert table["tokens_generated"].to_pylist() == [4] * 3
    assert sorted(table["pass_slot"].to_pylist()) == [0, 1, 2]

    frame = pd.read_parquet(out / "data")
    assert frame["caption"].tolist() == table["caption"].to_pylist()
    assert frame["bbox_xywh"][0].shape == (4,)

    loaded = datasets.Dataset.from_parquet(str(out / "data" / "*.parquet"), cache_dir=str(tmp_path / "cache"))
    assert loaded["caption"] == table["caption"].to_pylist()
    assert loaded[0]["bbox_xywh"] == table["bbox_xywh"][0].as_py()

    found = duckdb.sql(f"SELECT caption, status, bbox_xywh[1] FROM '{out}/data/*.parquet' ORDER BY source_index")
    boxes = [box[0] for box in table["bbox_xywh"].to_pylist()]
    assert found.fetchall() == list(zip(table["caption"].to_pylist(), ["ok"] * 3, boxes, strict=True))


def test_captions_are_those_of_the_python_interface(photo: Dataset, tmp_path: Path) -> None:
    from model.pdlm import PerceptionDLM

    caption("--input", photo.file, "--output", tmp_path / "out", *FAST)
    image = load_image(tmp_path / "demo.jpg")
    masks = [decode(item["segmentation"], *image.size) for item in photo.coco["annotations"]]
    expected = PerceptionDLM.from_pretrained(CHECKPOINT).caption(image, masks, steps=2, length=4)
    rows = pq.read_table(tmp_path / "out/data").to_pylist()
    assert [row["caption"] for row in rows] == [item.text for item in expected]
    confidence = [item.mean_confidence for item in expected]
    assert [row["mean_confidence"] for row in rows] == pytest.approx(confidence, rel=1e-4)
    assert [row["denoise_steps"] for row in rows] == [item.denoise_steps for item in expected]


def test_settings_reach_the_model(photo: Dataset, tmp_path: Path) -> None:
    def captions(name: str, *arguments: str) -> list[str]:
        result = caption("--input", photo.file, "--output", tmp_path / name, *FAST, *arguments)
        assert result.exit_code == 0, result.stderr
        return pq.read_table(tmp_path / name / "data")["caption"].to_pylist()

    plain = captions("plain")
    assert captions("prompt", "--prompt", "Name the colour.") != plain
    assert captions("long", "--length", "6") != plain
    warm = captions("warm", "--temperature", "1.5", "--seed", "1")
    assert captions("again", "--temperature", "1.5", "--seed", "1") == warm
    assert captions("other", "--temperature", "1.5", "--seed", "2") != warm
    config = json.loads((tmp_path / "warm/_pdlm/run.json").read_text())
    assert (config["job"]["decode"]["temperature"], config["job"]["seed"]) == (1.5, 1)


def test_images_default_to_the_folder_of_the_input(photo: Dataset, tmp_path: Path) -> None:
    elsewhere = tmp_path / "annotations"
    elsewhere.mkdir()
    photo.file = photo.file.rename(elsewhere / "masks.json")
    result = caption("--input", photo.file, "--output", tmp_path / "a", *FAST)
    assert result.exit_code == 4
    assert "--images" in result.stderr
    assert caption("--input", photo.file, "--output", tmp_path / "b", *FAST, "--images", tmp_path).exit_code == 0


def test_an_input_without_regions_is_told_of(dataset: Dataset, tmp_path: Path) -> None:
    dataset.image()
    result = caption("--input", dataset.write(), "--output", tmp_path / "none", "--dry-run-model")
    assert result.exit_code == 0
    assert f"{dataset.file} has no regions: there is nothing to caption; --propose MODEL" in result.stderr
    dataset.region(1)
    done = ["--input", dataset.write(), "--dry-run-model", "--output"]
    assert caption(*done, tmp_path / "first").exit_code == 0
    again = caption(*done, tmp_path / "second", "--since", tmp_path / "first")
    assert again.exit_code == 0
    assert "has no regions" not in again.stderr


def test_a_model_is_not_loaded_for_nothing(photo: Dataset, tmp_path: Path) -> None:
    """What a run of no rows leaves says the same of its model as any other, so that shards of both kinds merge."""
    asked = ["--input", photo.file, *FAST, "--output"]
    shards = [tmp_path / str(index) for index in range(4)]
    said = [caption(*asked, shard, "--shard", f"{index}/4").stderr for index, shard in enumerate(shards)]
    assert sum("loading the model" in stderr for stderr in said) == 1  # one photo: three shards have none
    full, empty = sorted(shards, key=lambda shard: "loading the model" not in said[int(shard.name)])[:2]
    facts = [json.loads((shard / "_pdlm/run.json").read_text()) for shard in (full, empty)]
    assert facts[0]["config"] == facts[1]["config"] and facts[0]["hashes"]["model"] == facts[1]["hashes"]["model"]
    assert {**facts[0]["engine"], "memory": ""} == {**facts[1]["engine"], "memory": ""}
    assert pq.read_table(empty / "data").num_rows == 0
    assert (empty / "_SUCCESS").exists()
    merged = CliRunner().invoke(main, ["merge", *map(str, shards), "--output", str(tmp_path / "merged")])
    assert merged.exit_code == 0, merged.output
    again = caption(*asked, empty, "--shard", f"{empty.name}/4")
    assert again.exit_code == 0 and "is finished: 0 rows" in again.stderr
    refused = caption(*asked, tmp_path / "none", "--limit", 1, "--since", full, "--cache", "refresh=0")
    assert refused.exit_code == 2


def test_empty_captions_are_told_of(photo: Dataset, tmp_path: Path) -> None:
    untaught = ["--model", str(REPOSITORY / "model/tiny/base"), "--device", "cpu", "--steps", "2"]
    result = caption("--input", photo.file, "--output", tmp_path / "out", *untaught)
    assert result.exit_code == 0, result.stderr
    assert "empty captions: 3 of 3; has this checkpoint learnt to caption regions? --model names" in result.stderr
    assert "empty captions" not in caption("--input", photo.file, "--output", tmp_path / "taught", *FAST).stderr
    pictures = [tmp_path / "demo.jpg", photo.file, "--output", tmp_path / "page.png"]
    shown = CliRunner().invoke(main, ["show", *map(str, pictures), *untaught])
    assert shown.exit_code == 0 and "empty captions: 3 of 3; has this" in shown.stderr


def test_stdout_is_for_the_summary_alone(photo: Dataset, tmp_path: Path) -> None:
    result = caption("--input", photo.file, "--output", tmp_path / "out", *FAST)
    assert result.stdout == ""
    assert "First 3 captions" in result.stderr
    assert "regions/s" in result.stderr


def test_error_rows_set_the_exit_code(photo: Dataset, tmp_path: Path) -> None:
    photo.region(1, "nonsense")
    photo.write()
    result = caption("--input", photo.file, "--output", tmp_path / "a", *FAST, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["errors"] == {"bad_mask": 1}
    assert "bad_mask" in result.stderr
    assert caption("--input", photo.file, "--output", tmp_path / "b", *FAST, "--max-error-rate", 0.3).exit_code == 0


def test_json_logs_are_json_lines(photo: Dataset, tmp_path: Path) -> None:
    result = caption("--input", photo.file, "--output", tmp_path / "out", *FAST, "--log-format", "json")
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert [event.get("event") for event in events] == [None, None, "start", "part", "end"]
    assert all({"time", "level", "message"} <= event.keys() for event in events)


def test_a_finished_run_is_not_done_again(photo: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo.region(1, "nonsense")
    photo.write()
    arguments = ["--input", photo.file, "--output", tmp_path / "out", *FAST]
    assert caption(*arguments).exit_code == 3
    with monkeypatch.context() as patch:
        patch.setattr(caption_job, "open_workers", None)
        again = caption(*arguments, "--json")
        assert again.exit_code == 3
        assert "is finished: 4 rows, 1 of them errors" in again.stderr
        assert json.loads(again.stdout)["rows"] == 4
        other = caption(*arguments[:-1], "5")
        assert other.exit_code == 2
        assert "--length was 4, now it is 5" in other.stderr
        assert caption(*arguments, "--max-error-rate", 0.3).exit_code == 0
        assert (tmp_path / "out/_SUCCESS").exists()
    assert caption(*arguments, "--overwrite").exit_code == 3


def test_a_run_goes_on_with_its_own_model_only(photo: Dataset, tmp_path: Path) -> None:
    arguments = ["--input", photo.file, "--output", tmp_path / "out"]
    assert caption(*arguments, *FAST).exit_code == 0
    copy = shutil.copytree(CHECKPOINT, tmp_path / "copy")
    moved = [copy if argument == str(CHECKPOINT) else argument for argument in FAST]
    assert caption(*arguments, *moved).exit_code == 0
    values = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(values, indent=7))
    for part_is_there in (True, False):
        if not part_is_there:
            (tmp_path / "out/data/part-00000.parquet").unlink()
        refused = caption(*arguments, *moved)
        assert refused.exit_code == 2
        assert "the model was" in refused.stderr


def test_a_run_goes_on_with_its_own_quantization_only(photo: Dataset, tmp_path: Path) -> None:
    arguments = ["--input", photo.file, "--output", tmp_path / "out", *FAST]
    small = ["--quantize", "int8"]
    assert caption(*arguments, *small).exit_code == 0
    facts = json.loads((tmp_path / "out/_pdlm/run.json").read_text())
    assert (facts["config"]["quantize"], facts["engine"]["quantize"]) == ("int8", "int8")
    for part_is_there in (True, False):
        if not part_is_there:
            (tmp_path / "out/data/part-00000.parquet").unlink()
        for other, named in ([], "not given"), (["--quantize", "fp8"], "fp8"):
            refused = caption(*arguments, *other)
            assert refused.exit_code == 2
            assert f"--quantize was int8, now it is {named}" in refused.stderr
    assert caption(*arguments, *small).exit_code == 0
    whole = ["--input", photo.file, "--output", tmp_path / "whole", *FAST]
    assert caption(*whole).exit_code == 0
    hashes = [json.loads((tmp_path / name / "_pdlm/run.json").read_text())["hashes"] for name in ("out", "whole")]
    assert hashes[0]["model"] != hashes[1]["model"]


def test_devices_and_their_limits_reach_the_workers(
    photo: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, quantize: str | None, compiled: bool) -> Any:
        raise DeviceError(repr(arguments[1:3] + arguments[4:] + (quantize, compiled)))

    monkeypatch.setattr(caption_job, "open_workers", refuse)
    for given, expected in (
        ([], "(('auto',), 'auto', None, None, False)"),
        (["--device", "cuda:1", "--quantize", "nf4", "--compile"], "(('cuda:1',), 'auto', None, 'nf4', True)"),
        (["--devices", "0,1", "--pass-timeout", "7"], "(('0', '1'), 'auto', 7.0, None, False)"),
        (["--devices", "all"], "(('all',), 'auto', None, None, False)"),
    ):
        result = caption("--input", photo.file, "--output", tmp_path / "out", *given)
        assert result.exit_code == 6, result.stderr
        assert expected in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--input", "none.json"], 4, "No such file"),
        (["--images", "none"], 4, "none is no folder, zip or tar"),
        (["--output", "demo.jpg"], 5, "cannot write to demo.jpg"),
        (["--model", "no/such-checkpoint"], 2, "no checkpoint at"),
        (["--model", "."], 2, "config.json"),
        (["--model", str(REPOSITORY / "tests/data/chat/checkpoint")], 2, "image-level"),
        (["--device", "toaster"], 2, "--device"),
        (["--device", "mps"], 2, "--device"),
        (["--device", "cuda"], 2, "--device"),
        (["--cache", "exact"], 2, "isolated"),
        (["--cache", "delayed", "--sampler", "remask"], 2, "use cache exact"),
        (["--prompt", "What? " * 9000], 2, "the model reads at most 16,384"),
        (["--length", "16384"], 2, "the model reads at most 16,384"),
    ],
)
def test_exit_codes(
    photo: Dataset, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(photo.folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = caption("--input", "masks.json", "--output", "out", *FAST, *arguments)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert not Path("out/data").exists()


# Those of llada need a download, those of average two trainings, those of bench and tradeoff minutes; all are looked at
# beside the tests of their commands.
ELSEWHERE = (
    ("chat",),
    ("convert", "llada"),
    ("convert", "average"),
    ("train",),
    ("eval", "score"),
    ("eval", "tradeoff"),
    ("propose",),
    ("show",),
    ("report",),
    ("ablations",),
    ("merge",),
    ("export",),
)
RUNNABLE = [line for path in ALL if path not in ELSEWHERE and path[:1] != ("bench",) for line in examples(*path)]


@pytest.mark.parametrize("line", dict.fromkeys(RUNNABLE))
def test_examples_of_the_help_run(photo: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "demo.jpg").write_bytes((tmp_path / "demo.jpg").read_bytes())
    if "--propose" in line:
        write_sam2(tmp_path / "sam2", score=0.0)  # none of its masks is good enough: a table without rows
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoints, "shipped_checkpoint", lambda *_: CHECKPOINT)
    if "--since" in line:
        assert caption("--input", "masks.json", "--output", "monday", "--dry-run-model").exit_code == 0
    program, *arguments = shlex.split(line)
    assert program == "pdlm"
    result = CliRunner().invoke(main, arguments)
    # Masks of the photo overlap, which panoptic cannot hold.
    expected = 3 if arguments[:2] == ["convert", "panoptic"] else 0
    assert result.exit_code == expected, result.stderr
