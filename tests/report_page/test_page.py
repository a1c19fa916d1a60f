"""What is on the page, without a browser."""

import base64
import hashlib
import io
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pdlm_cli.errors import REMEDIES, ConfigError, ErrorCode, InputError
from pdlm_cli.main import main
from pdlm_cli.report_page.charts import charts, stages
from pdlm_cli.report_page.record import read_run
from tests.cli.support import Dataset, box_mask, rle
from tests.cli.test_help import examples
from tests.cli.test_imports import modules_after
from tests.report_page.support import caption_run


def report(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def cards_of(file: Path) -> list[dict[str, Any]]:
    text = file.read_text()
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text)[1])["cards"]


def test_pictures_outlines_and_captions_are_on_the_page(dataset: Dataset) -> None:
    image = dataset.image(900, 600)
    dataset.region(image, rle(box_mask(900, 600, 90, 60, 450, 300)))
    out = caption_run(dataset, ["a box"])
    result = report(out)
    assert result.exit_code == 0, result.stderr
    assert "1 of 1 pictures" in result.stderr
    (card,) = cards_of(out / "report.html")
    (region,) = card["regions"]
    assert (region["caption"], region["category"], region["status"]) == ("a box", "thing", "ok")
    assert region["pin"] == [350, 67]
    with Image.open(io.BytesIO(base64.b64decode(card["src"].removeprefix("data:image/webp;base64,")))) as small:
        assert small.size == (512, 341)


def test_progress_counts_every_picture_and_logs_may_be_json(dataset: Dataset, told: Mapping[str, list[int]]) -> None:
    for _ in range(5):
        dataset.region(dataset.image())
    out = caption_run(dataset)
    result = report(out, "--max-images", 3, "--log-format", "json")
    assert told["pictures"] == [1, 1, 1]
    assert "3 of 5 pictures" in json.loads(result.stderr.splitlines()[-1])["message"]


def test_pictures_beyond_the_limit_are_left_out_and_this_is_said(dataset: Dataset) -> None:
    for _ in range(5):
        dataset.region(dataset.image())
    out = caption_run(dataset, part_rows=2)
    target = out.parent / "look.html"
    result = report(out, "--max-images", 3, "--output", target)
    assert "3 of 5 pictures" in result.stderr
    assert [card["path"] for card in cards_of(target)] == ["1.png", "2.png", "3.png"]
    assert "The first 3 of 5 pictures are shown" in target.read_text()
    assert not (out / "report.html").exists()


def test_a_page_takes_the_place_of_no_other_file(dataset: Dataset) -> None:
    dataset.region(dataset.image())
    masks = dataset.write().read_bytes()
    out, own = caption_run(dataset), dataset.folder / "own.html"
    result = report(out, "--output", dataset.file)
    assert result.exit_code == 2 and "does not end in .html" in result.stderr
    assert dataset.file.read_bytes() == masks
    own.write_text("<p>not a report</p>")
    result = report(out, "--output", own)
    assert result.exit_code == 2 and "own.html exists and was not drawn by" in result.stderr
    assert own.read_text() == "<p>not a report</p>"
    own.unlink()
    for _ in range(2):  # a page is drawn over itself
        assert report(out, "--output", own).exit_code == 0


def test_errors_have_counts_examples_and_remedies(dataset: Dataset) -> None:
    image = dataset.image()
    dataset.region(image)
    for _ in range(25):
        dataset.region(image, "nonsense")
    dataset.region(dataset.image(name="lost.png", write=False))
    out = caption_run(dataset)
    report(out)
    text = (out / "report.html").read_text()
    for code in ("bad_mask", "missing_image"):
        assert f"<code>{code}</code>" in text and REMEDIES[code].split(".")[0] in text
    assert "25 regions" in text and "and 5 more" in text
    assert [region["code"] for card in cards_of(out / "report.html") for region in card["regions"]].count(None) == 1


def test_every_code_has_a_remedy() -> None:
    assert set(REMEDIES) == set(get_args(ErrorCode))


def test_boxes_stand_in_where_masks_are_gone(dataset: Dataset) -> None:
    dataset.region(dataset.image(100, 50), rle(box_mask(100, 50, 10, 5, 50, 40)))
    out = caption_run(dataset)
    dataset.file.unlink()
    assert report(out).exit_code == 0
    (card,) = cards_of(out / "report.html")
    assert card["src"] and card["regions"][0]["path"] == "M100 50l500 0 0 400-500 0z"
    assert "boxes are shown instead" in (out / "report.html").read_text()


def test_regions_are_drawn_on_gray_where_the_picture_is_gone(dataset: Dataset) -> None:
    dataset.region(dataset.image(100, 50))
    dataset.region(dataset.image(100, 50))
    out = caption_run(dataset)
    (dataset.folder / "1.png").unlink()
    Image.new("RGB", (50, 50)).save(dataset.folder / "2.png")
    assert report(out).exit_code == 0
    gone, other = cards_of(out / "report.html")
    assert (gone["src"], gone["size"]) == (None, [1000, 500])
    assert "no file" in gone["note"] and gone["regions"][0]["path"]
    assert other["src"] is None and "50 x 50 now" in other["note"]
    assert "cannot be shown now: 2" in (out / "report.html").read_text()


def test_what_moved_can_be_named(dataset: Dataset) -> None:
    dataset.region(dataset.image())
    out = caption_run(dataset)
    moved = dataset.folder.rename(dataset.folder.with_name("elsewhere"))
    assert report(out, "--input", moved / "masks.json", "--images", moved).exit_code == 0
    (card,) = cards_of(out / "report.html")
    assert card["src"] and card["note"] is None
    assert 'class="notes"' not in (out / "report.html").read_text().replace('<p class="notes">The pictures need', "")


def test_an_input_that_has_changed_is_said(dataset: Dataset) -> None:
    dataset.region(dataset.image(100, 50), rle(box_mask(100, 50, 10, 5, 50, 40)))
    out = caption_run(dataset)
    dataset.coco["annotations"][0]["segmentation"] = rle(box_mask(100, 50, 0, 0, 3, 3))
    dataset.write()
    assert report(out).exit_code == 0
    assert "has changed since the run" in (out / "report.html").read_text()
    assert cards_of(out / "report.html")[0]["regions"][0]["path"] == "M100 50l500 0 0 400-500 0z"


def test_pictures_outside_the_folder_are_not_carried_along(dataset: Dataset, tmp_path: Path) -> None:
    """A run that was not allowed to follow a file name does not hand the picture out through its report."""
    Image.new("RGB", (40, 30)).save(tmp_path / "secret.png")
    image = dataset.image(name="../secret.png", write=False)
    dataset.region(image)
    out = caption_run(dataset)
    report(out)
    assert cards_of(out / "report.html")[0]["src"] is None
    assert "outside_root" in (out / "report.html").read_text()
    allowed = caption_run(dataset, name="allowed", allow_outside=True)
    report(allowed)
    assert cards_of(allowed / "report.html")[0]["src"]


def test_policy_names_exactly_the_script_and_the_style_of_the_page(dataset: Dataset) -> None:
    dataset.region(dataset.image())
    out = caption_run(dataset)
    report(out)
    text = (out / "report.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"\bstyle=|\bon\w+=|https?://", text.replace("http://www.w3.org/2000/svg", ""))


def test_times_add_up(dataset: Dataset) -> None:
    """Two images, three passes; the stub says that a pass takes 1 ms to encode and 2 ms to decode."""
    for count in (4, 1):
        image = dataset.image()
        for _ in range(count):
            dataset.region(image)
    record = read_run(caption_run(dataset, batch_size=1))
    table = record.numbers.to_pylist()
    spent = {bar.label.split(" ")[0]: float(bar.value.split(" ")[0]) for bar in stages(record.numbers).bars}
    model = sum(row["pass_share_ms"] for row in table) / 1e3
    assert spent["encode"] + spent["decode"] == pytest.approx(model, abs=0.11)
    assert sum(bar.share for bar in stages(record.numbers).bars) == pytest.approx(1)
    drawn = {chart.title: chart for chart in charts(record.numbers)}
    assert drawn.keys() == {"Model time a region", "Regions over the run", "Confidence", "Length"}
    for chart in drawn.values():
        assert sum(int(bar.value) for bar in chart.bars) == 5


def test_a_run_of_errors_alone_has_a_page(dataset: Dataset) -> None:
    dataset.region(dataset.image(), "nonsense")
    out = caption_run(dataset)
    assert report(out).exit_code == 0
    assert stages(read_run(out).numbers) is None or "Where the time went" in (out / "report.html").read_text()


def test_a_run_of_nothing_has_a_page(dataset: Dataset) -> None:
    """As every night without new pictures leaves one."""
    dataset.region(dataset.image())
    first = caption_run(dataset)
    out = caption_run(dataset, name="second", since=(first,))
    assert report(out).exit_code == 0
    assert cards_of(out / "report.html") == []
    page = (out / "report.html").read_text()
    assert "0 of 0 regions captioned" in page and "--since or --shard left them out" in page


def test_what_cannot_be_reported_is_said(dataset: Dataset, tmp_path: Path) -> None:
    assert report(tmp_path).exit_code == 2
    with pytest.raises(ConfigError, match="holds no run of pdlm caption"):
        read_run(tmp_path)
    dataset.region(dataset.image())
    out = caption_run(dataset)
    result = report(out, "--output", tmp_path / "no" / "page.html")
    assert result.exit_code == 5
    assert f"there is no folder {tmp_path / 'no'}" in result.stderr and "committed" not in result.stderr
    (out / "data/part-00000.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(InputError, match="cannot be read"):
        read_run(out)
    (out / "data/part-00000.parquet").unlink()
    with pytest.raises(InputError, match="no rows yet"):
        read_run(out)


def test_unfinished_runs_are_called_so(dataset: Dataset) -> None:
    dataset.region(dataset.image())
    out = caption_run(dataset)
    (out / "_pdlm/stats.json").unlink()
    report(out)
    assert "had not finished" in (out / "report.html").read_text()


@pytest.mark.parametrize("line", examples("report"))
def test_examples_of_the_help_run(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    dataset.region(dataset.image())
    monkeypatch.chdir(caption_run(dataset).parent)
    result = CliRunner().invoke(main, shlex.split(line)[1:])
    assert result.exit_code == 0, result.stderr


def test_a_new_run_takes_the_page_of_the_old_one_away(dataset: Dataset) -> None:
    dataset.region(dataset.image())
    out = caption_run(dataset)
    report(out)
    caption_run(dataset, overwrite=True)
    assert not (out / "report.html").exists()


def test_torch_is_not_needed_to_write_a_page() -> None:
    assert "torch" not in modules_after("import pdlm_cli.report_page.page")
