"""Regions for pictures without masks: whole files, that a stopped run goes on behind, and that captioning reads."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from pdlm_cli import checkpoints, inputs, proposing, segmenter
from pdlm_cli.errors import Interrupted
from pdlm_cli.finished import FinishedRun
from pdlm_cli.main import main
from pdlm_cli.manifest import open_manifest, shard_of
from tests.cli.runs import rows_of
from tests.cli.support import CHECKPOINT
from tests.cli.test_help import examples
from tests.cli.tiny_sam import write_sam2

COUNT = 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_sam2(tmp_path_factory.mktemp("sam2")))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five pictures, two files' worth and a half; the second is broken."""
    monkeypatch.setattr(proposing, "PICTURES_A_FILE", 2)
    monkeypatch.setattr(inputs, "GRID", {**inputs.GRID, "points": 2})
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60 + number, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:500])
    return folder


def pdlm(*arguments: object, code: int) -> Any:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if "--json" in arguments else result


def propose(photos: Path, out: Path, model: str, *more: object, code: int = 3) -> Any:
    return pdlm("propose", photos, out, "--model", model, "--points", 2, *more, code=code)


def caption(photos: Path, out: Path, model: str, *more: object, code: int = 3) -> Any:
    arguments = ("--propose", model, "--dry-run-model", "--output", out)
    return pdlm("caption", "--input", photos, *arguments, *more, code=code)


def same(one: Path, other: Path) -> bool:
    names = [sorted(path.name for path in folder.glob("*.parquet")) for folder in (one, other)]
    return names[0] == names[1] and all((one / name).read_bytes() == (other / name).read_bytes() for name in names[0])


class Stopping(segmenter.Segmenter):
    """Is stopped at its third picture."""

    seen = 0

    def masks(self, picture: Image.Image) -> Any:
        Stopping.seen += 1
        if Stopping.seen == 3:
            raise Interrupted(15)
        return super().masks(picture)


def test_regions_are_an_input(photos: Path, tmp_path: Path, model: str) -> None:
    said = propose(photos, tmp_path / "regions", model, "--json")
    manifest = open_manifest(tmp_path / "regions")
    assert said == {"pictures": COUNT, "regions": manifest.regions - 1, "unreadable": 1}
    assert manifest.format == "parquet-manifest"
    entries = list(manifest)
    assert [entry.image_id for entry in entries] == [f"{i}.png" for i in range(COUNT)]
    assert all(region.segmentation["size"] == [40, 60] for region in entries[0].regions)
    found = pdlm("inspect", tmp_path / "regions", "--images", photos, "--pictures", "--json", code=3)
    assert found["problems"] == {"bad_image": 1}


def test_a_stopped_run_goes_on(photos: Path, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    propose(photos, tmp_path / "whole", model)
    with monkeypatch.context() as patched:
        patched.setattr(segmenter, "Segmenter", Stopping)
        propose(photos, tmp_path / "stopped", model, code=143)
    (first,) = (tmp_path / "stopped").glob("*.parquet")
    before = first.stat().st_mtime_ns
    propose(photos, tmp_path / "stopped", model)
    assert same(tmp_path / "whole", tmp_path / "stopped")
    assert first.stat().st_mtime_ns == before


def test_other_pictures_or_settings_are_refused(photos: Path, tmp_path: Path, model: str) -> None:
    propose(photos, tmp_path / "regions", model)
    assert "other settings" in propose(photos, tmp_path / "regions", model, "--score", 0.5, code=2).stderr
    (photos / "3.png").unlink()
    assert "other pictures" in propose(photos, tmp_path / "regions", model, code=2).stderr
    propose(photos, tmp_path / "regions", model, "--overwrite")
    propose(photos, tmp_path / "fresh", model)
    assert same(tmp_path / "regions", tmp_path / "fresh")


def test_shards_are_one_input(photos: Path, tmp_path: Path, model: str) -> None:
    propose(photos, tmp_path / "whole", model)
    broken = shard_of("1.png", 2)
    for i in range(2):
        propose(photos, tmp_path / f"shards/{i}", model, "--shard", f"{i}/2", code=3 if i == broken else 0)
    tables = [pq.read_table(tmp_path / name).sort_by("image_id").to_pylist() for name in ("whole", "shards")]
    assert tables[0] == tables[1]


def test_captioning_proposes_and_goes_on(
    photos: Path, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One broken picture is one error row; a run that is stopped while it proposes ends as any other."""
    caption(photos, tmp_path / "whole", model)
    rows = rows_of(tmp_path / "whole")
    assert [row["image_path"] for row in rows if row["status"] == "error"] == ["1.png"]
    assert {row["error_code"] for row in rows} == {None, "bad_image"}
    assert {row["image_path"] for row in rows} == {f"{i}.png" for i in range(COUNT)}
    with monkeypatch.context() as patched:
        Stopping.seen = 0
        patched.setattr(segmenter, "Segmenter", Stopping)
        caption(photos, tmp_path / "stopped", model, code=143)
    caption(photos, tmp_path / "stopped", model)
    keys = [[row["region_key"] for row in rows_of(tmp_path / name)] for name in ("whole", "stopped")]
    assert keys[0] == keys[1]
    manifest, _ = FinishedRun(tmp_path / "whole").input()
    assert manifest.regions == len(rows)
    assert "finished" in caption(photos, tmp_path / "whole", model).stderr


def test_only_new_pictures_are_looked_at(photos: Path, tmp_path: Path, model: str) -> None:
    caption(photos, tmp_path / "first", model)
    (photos / "0.png").rename(photos / "renamed.png")
    Image.fromarray(np.full((40, 60, 3), 7, np.uint8)).save(photos / "2.png")
    by_content = ("--since", tmp_path / "first", "--since-by", "content")
    caption(photos, tmp_path / "same", model, *by_content)
    assert {row["image_path"] for row in rows_of(tmp_path / "same")} == {"1.png", "2.png"}
    caption(photos, tmp_path / "second", model, "--since", tmp_path / "first")
    assert {row["image_path"] for row in rows_of(tmp_path / "second")} == {"1.png", "2.png", "renamed.png"}
    Image.fromarray(np.full((40, 60, 3), 8, np.uint8)).save(photos / "2.png")
    for more in (by_content, ("--since", tmp_path / "first")):  # regions of a picture that is not there any more
        out = tmp_path / ("same" if more == by_content else "second")
        assert "regions of other pictures" in caption(photos, out, model, *more, code=2).stderr
    caption(photos, tmp_path / "second", model, "--since", tmp_path / "first", "--overwrite")
    (photos / "1.png").unlink()
    caption(photos, tmp_path / "third", model, "--since", tmp_path / "first", "--since", tmp_path / "second", code=0)
    assert rows_of(tmp_path / "third") == []


def test_examples_of_the_help_run(photos: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "1.png").unlink()
    monkeypatch.chdir(photos.parent)
    monkeypatch.setattr(checkpoints, "shipped_checkpoint", lambda *_: CHECKPOINT)
    Path("sam2").symlink_to(model)
    for line in examples("propose"):
        more = ["--points", "1"] if "--model" in line else ["--steps", "1"]
        pdlm(*shlex.split(line)[1:], *more, code=0)


def test_what_does_not_fit_together_is_refused(photos: Path, tmp_path: Path, model: str) -> None:
    caption(photos, tmp_path / "a", model, "--shard", "0/2", code=2)
    caption(photos, tmp_path / "a", model, "--format", "coco-instances", code=2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "regions.json").write_text("[]")
    assert (
        "all pictures of a folder, an archive"
        in caption(tmp_path / "regions.json", tmp_path / "b", model, code=4).stderr
    )
    assert "has no pictures" in caption(tmp_path / "empty", tmp_path / "b", model, code=4).stderr
    assert "lacks model.safetensors" in caption(photos, tmp_path / "c", str(photos), code=2).stderr
    propose(photos, tmp_path / "regions", model)
    pdlm(
        "caption",
        "--input",
        tmp_path / "regions",
        "--images",
        photos,
        "--dry-run-model",
        "--output",
        tmp_path / "d",
        code=3,
    )
    assert "without --propose" in caption(photos, tmp_path / "d", model, code=2).stderr
