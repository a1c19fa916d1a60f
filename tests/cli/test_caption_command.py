"""`pdlm caption` in process, with the recorded checkpoint in its released layout."""

import json
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pdlm_cli import caption_job
from pdlm_cli.errors import DeviceError
from pdlm_cli.images import load_image
from pdlm_cli.masks import decode
from tests.cli.runs import FAST, caption, pdlm
from tests.cli.support import CHECKPOINT, REPOSITORY, Dataset

pytestmark = pytest.mark.usefixtures("in_process")


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


def test_empty_captions_are_told_of(photo: Dataset, tmp_path: Path) -> None:
    untaught = ["--model", str(REPOSITORY / "model/tiny/base"), "--device", "cpu", "--steps", "2"]
    result = caption("--input", photo.file, "--output", tmp_path / "out", *untaught)
    assert result.exit_code == 0, result.stderr
    assert "empty captions: 3 of 3; has this checkpoint learnt to caption regions? --model names" in result.stderr
    assert "empty captions" not in caption("--input", photo.file, "--output", tmp_path / "taught", *FAST).stderr
    pictures = [tmp_path / "demo.jpg", photo.file, "--output", tmp_path / "page.png"]
    shown = pdlm("show", *pictures, *untaught)
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
