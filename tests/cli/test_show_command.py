"""`pdlm show`: captions beside their picture."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pdlm_cli import checkpoints
from pdlm_cli.annotated import INKS, PICTURE, annotate
from pdlm_cli.errors import PdlmError
from pdlm_cli.images import ORIENTATION
from pdlm_cli.manifest import open_manifest, shard_of
from pdlm_cli.showing import pages_of_run
from tests.cli.runs import FAST, pdlm
from tests.cli.support import CHECKPOINT, PHOTO, PHOTO_MASKS, REPOSITORY, Dataset, box_mask
from tests.cli.test_help import examples

pytestmark = pytest.mark.usefixtures("in_process")


def test_one_picture_is_captioned_and_drawn(tmp_path: Path) -> None:
    target = tmp_path / "captions.png"
    result = pdlm("show", PHOTO / "demo.jpg", *PHOTO_MASKS, "--output", target, *FAST)
    assert result.exit_code == 0, result.stderr
    assert [line[:3] for line in result.stdout.splitlines()] == ["1  ", "2  ", "3  "]
    with Image.open(target) as page:
        colors = {color for _, color in page.convert("RGB").getcolors(1 << 24)}
    assert set(INKS[:3]) <= colors


def test_pictures_that_share_a_name_keep_their_regions(dataset: Dataset, tmp_path: Path) -> None:
    for regions, folder in enumerate(("a", "b", "c/b"), 1):
        image = dataset.image(name=f"{folder}/1.png")
        for _ in range(regions):
            dataset.region(image)
    asked = [dataset.write(), "--output", tmp_path / "captions.png", *FAST]
    for regions, folder in enumerate(("a", "b", "c/b"), 1):
        result = pdlm("show", dataset.folder / folder / "1.png", *asked)
        assert result.exit_code == 0, result.stderr
        assert len(result.stdout.splitlines()) == regions
    (dataset.folder / "1.png").write_bytes((dataset.folder / "a/1.png").read_bytes())
    result = pdlm("show", dataset.folder / "1.png", *asked)
    assert result.exit_code == 4
    assert "expected a path that ends in one of a/1.png, b/1.png, c/b/1.png" in result.stderr


def test_a_prompt_that_is_too_long_for_the_picture_is_said(tmp_path: Path) -> None:
    """It has room beside a picture of one tile, and this one has seven."""
    result = pdlm(
        "show", PHOTO / "demo.jpg", *PHOTO_MASKS, "--output", tmp_path / "a.png", *FAST, "--prompt", "a " * 16250
    )
    assert result.exit_code == 2
    assert "the model reads at most 16,384" in result.stderr and result.stdout == ""


def test_masks_may_come_from_an_annotation_file(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    first, second = dataset.image(), dataset.image()
    for image in (first, first, second):
        dataset.region(image)
    dataset.write()
    result = pdlm("show", tmp_path / "1.png", dataset.file, "--output", tmp_path / "page.png", *FAST)
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_a_mask_picture_is_inside_where_it_is_not_black(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    Image.fromarray(box_mask(40, 30, 3, 4, 5, 6).astype(np.uint8)).save(tmp_path / "ones.png")
    target = tmp_path / "page.png"
    result = pdlm("show", tmp_path / "photo.png", tmp_path / "ones.png", "--output", target, *FAST)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.fault("EXIF rotation")
def test_a_photo_is_turned_to_fit_its_masks(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg", exif=exif)
    for name, size in (("stored.png", (40, 30)), ("upright.png", (30, 40))):
        Image.fromarray(box_mask(*size, 3, 4, 5, 6)).save(tmp_path / name)
        result = pdlm("show", tmp_path / "photo.jpg", tmp_path / name, "--output", tmp_path / "page.png", *FAST)
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("sample", ["panoptic/panoptic.json", "plain/list.json", "parquet_regions/manifest.parquet"])
def test_masks_may_come_from_any_format(tmp_path: Path, sample: str) -> None:
    file = REPOSITORY / "tests/data/inputs" / sample
    picture = next(iter(open_manifest(file))).file_name
    result = pdlm("show", file.parent / picture, file, "--output", tmp_path / "page.png", *FAST)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 3


def test_pictures_of_a_run_are_its_own(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    for _ in range(6):
        dataset.region(dataset.image())
    dataset.write()
    assert [shard_of(str(number), 2) for number in range(1, 7)] == [0, 0, 0, 0, 0, 1]
    out = tmp_path / "out"
    assert pdlm("caption", "--input", dataset.file, "--output", out, "--shard", "1/2", "--dry-run-model").exit_code == 0
    assert pdlm("show", out, "--pictures", 1).exit_code == 0


def test_progress_counts_every_picture_and_logs_may_be_json(tmp_path: Path, told: Mapping[str, list[int]]) -> None:
    dataset = Dataset(tmp_path)
    for _ in range(3):
        dataset.region(dataset.image())
    dataset.write()
    out = tmp_path / "out"
    assert pdlm("caption", "--input", dataset.file, "--output", out, "--dry-run-model").exit_code == 0
    result = pdlm("show", out, "--pictures", 2, "--log-format", "json")
    assert told["pictures"] == [1, 1]
    assert json.loads(result.stderr.splitlines()[-1])["message"] == f"wrote {out / 'pictures.png'}"


@pytest.mark.parametrize("damaged", ["_pdlm/run.json", "data/part-00000.parquet"])
def test_a_damaged_run_is_said(tmp_path: Path, damaged: str) -> None:
    dataset = Dataset(tmp_path)
    dataset.region(dataset.image())
    dataset.write()
    out = tmp_path / "out"
    assert pdlm("caption", "--input", dataset.file, "--output", out, "--dry-run-model").exit_code == 0
    (out / damaged).write_bytes(b"{")
    with pytest.raises(PdlmError, match=f"{damaged} cannot be read"):
        pages_of_run(out, 1)


def test_a_run_is_drawn_with_its_captions_and_errors(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    dataset.region(dataset.image())
    dataset.region(1, "nonsense")
    dataset.region(dataset.image(name="lost.png", write=False))
    dataset.write()
    out = tmp_path / "out"
    assert pdlm("caption", "--input", dataset.file, "--output", out, *FAST).exit_code == 3
    result = pdlm("show", out)
    assert result.exit_code == 0, result.stderr
    with Image.open(out / "pictures.png") as page:
        assert page.width > PICTURE
    assert pq.read_table(out / "data").num_rows == 3


def test_examples_of_the_help_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset(tmp_path)
    dataset.region(dataset.image(name="photo.jpg"))
    dataset.write()
    for number in range(2):
        Image.fromarray(box_mask(40, 30, 3, 4, 5 + number, 6)).save(tmp_path / f"mask-{number}.png")
    assert pdlm("caption", "--input", dataset.file, "--output", tmp_path / "out", *FAST).exit_code == 0
    training = tmp_path / "out/train/tiny"
    training.mkdir(parents=True)
    (training / "log.jsonl").write_text('{"event": "step", "step": 1, "loss": 2.0, "learning_rate": 0.1}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoints, "shipped_checkpoint", lambda *_: CHECKPOINT)
    for line in examples("show"):
        result = pdlm(*shlex.split(line)[1:])
        assert result.exit_code == 0, result.stderr
    assert (tmp_path / "photo-captions.png").exists() and (tmp_path / "captions.png").exists()
    assert (tmp_path / "steps.gif").exists()


def test_an_outline_follows_its_mask() -> None:
    mask = box_mask(300, 200, 40, 60, 100, 80)
    page = np.asarray(annotate(np.zeros((200, 300, 3), np.uint8), [mask], [(0, "a box")]))
    own = (page[:, :PICTURE] == INKS[0]).all(axis=2)
    assert own[139, 40:140].all() and own[80:140, 139].all()
    assert not own[75:138, 60:138].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([PHOTO / "demo.jpg", *FAST], "needs MASKS"),
        ([PHOTO], "holds no run"),
        ([PHOTO, PHOTO_MASKS[0]], "leave MASKS out"),
        ([PHOTO, "--steps-gif", "steps.gif"], "--steps-gif has no meaning for a run of `pdlm caption`"),
        ([PHOTO, "--model", "other"], "--model has no meaning for a run of `pdlm caption`"),
        ([PHOTO / "demo.jpg", PHOTO_MASKS[0], "--pictures", 3], "--pictures has no meaning for a picture"),
        ([PHOTO / "demo.jpg", PHOTO_MASKS[0], "--output", "page.txt"], "does not end in .png or .jpg"),
        ([PHOTO / "demo.jpg", PHOTO_MASKS[0], "--steps-gif", "steps.png"], "does not end in .gif"),
        ([PHOTO / "demo.jpg", REPOSITORY / "examples/coco/shapes.png", *FAST], "the mask picture has"),
        ([PHOTO_MASKS[0], REPOSITORY / "examples/coco/masks.json", *FAST], "no regions of a picture"),
        ([REPOSITORY / "README.md", PHOTO_MASKS[0], *FAST], "cannot be decoded"),
    ],
)
def test_what_cannot_be_shown_is_said(arguments: list[Path], message: str) -> None:
    result = pdlm("show", *arguments)
    assert result.exit_code in (2, 4)
    assert message in result.stderr


@pytest.mark.parametrize("option", ["--output", "--steps-gif"])
def test_no_file_is_replaced_that_pdlm_did_not_draw(tmp_path: Path, option: str) -> None:
    photo = tmp_path / ("photo.gif" if option == "--steps-gif" else "photo.png")
    Image.open(PHOTO / "demo.jpg").save(photo)
    before = photo.read_bytes()
    result = pdlm("show", photo, PHOTO_MASKS[0], option, photo, *FAST)
    assert result.exit_code == 2
    assert f"{photo} exists and was not drawn by this version of pdlm; remove it, or choose" in result.stderr
    assert result.stdout == ""  # nothing was captioned for it
    assert photo.read_bytes() == before


def test_drawings_are_drawn_again_and_their_default_name_is_no_trap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo-captions.png").write_bytes((PHOTO / "demo.jpg").read_bytes())
    result = pdlm("show", PHOTO / "demo.jpg", PHOTO_MASKS[0], *FAST)
    assert result.exit_code == 2
    assert "demo-captions.png exists" in result.stderr
    (tmp_path / "demo-captions.png").unlink()
    for options in ([], ["--output", "page.jpg", "--steps-gif", "steps.gif"]):
        for _ in range(2):
            result = pdlm("show", PHOTO / "demo.jpg", PHOTO_MASKS[0], *options, *FAST)
            assert result.exit_code == 0, result.stderr
    (tmp_path / "run").mkdir()
    (tmp_path / "run/log.jsonl").write_text('{"event": "step", "step": 1, "loss": 2.0, "learning_rate": 0.1}\n')
    for kind in ("png", "jpg", "svg", "pdf"):
        for _ in range(2):
            result = pdlm("show", "run", "--output", f"curves.{kind}")
            assert result.exit_code == 0, result.stderr


def test_a_target_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    result = pdlm("show", PHOTO / "demo.jpg", PHOTO_MASKS[0], "--output", tmp_path / "no" / "page.png", *FAST)
    assert result.exit_code == 5
    assert "there is no folder" in result.stderr
    assert result.stdout == ""  # nothing was captioned for it
