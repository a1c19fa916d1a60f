"""What the input wants asked about a region: in place of --prompt, in passes of those that are asked the same."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pdlm_cli.main import main
from tests.cli.support import CHECKPOINT, Dataset, box_mask, rle

pytestmark = pytest.mark.usefixtures("in_process")

FAST = ["--model", str(CHECKPOINT), "--device", "cpu", "--steps", "2", "--length", "4"]
COLOR, PLACE = "Name the colour.", "Where does it stand?"
ASKED = [None, COLOR, PLACE, COLOR, "", "What is this? " * 5000]


def manifest(folder: Path, regions: list[int], *, prompts: bool) -> Path:
    """Regions of one picture; each always has the same mask and prompt."""
    Dataset(folder).image(40, 30, name="a.png")
    masks = [rle(box_mask(40, 30, 3 * number, number, 9, 8 + number)) for number in regions]
    columns: dict[str, Any] = {
        "image_path": ["a.png"] * len(regions),
        "image_id": ["a"] * len(regions),
        "region_id": [str(number) for number in regions],
        "rle_counts": [mask["counts"] for mask in masks],
        "rle_size": pa.array([mask["size"] for mask in masks], pa.list_(pa.int32(), 2)),
    }
    if prompts:
        columns["prompt"] = pa.array([ASKED[number] for number in regions], pa.string())
    path = folder / f"{regions}-{prompts}.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def captioned(file: Path, *arguments: str, exit_code: int = 0) -> dict[str, dict[str, Any]]:
    out = file.with_suffix("").with_name(f"{file.stem}-{len(list(file.parent.iterdir()))}")
    asked = ["caption", "--input", str(file), "--output", str(out), *FAST, *arguments]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == exit_code, result.stderr
    return {row["region_id"]: row for row in pq.read_table(out / "data").to_pylist()}


def test_each_region_is_asked_its_own(tmp_path: Path) -> None:
    rows = captioned(manifest(tmp_path, [0, 1, 2, 3, 4], prompts=True))
    passes = {name: row["pass_id"] for name, row in rows.items()}
    assert passes["1"] == passes["3"] and passes["0"] == passes["4"]
    assert len(set(passes.values())) == 3
    for regions, prompt in (([1, 3], COLOR), ([2], PLACE)):
        alone = captioned(manifest(tmp_path, regions, prompts=False), "--prompt", prompt)
        assert {name: rows[name]["caption"] for name in alone} == {name: row["caption"] for name, row in alone.items()}
        unasked = captioned(manifest(tmp_path, regions, prompts=False))
        assert any(unasked[name]["caption"] != row["caption"] for name, row in alone.items())


def test_the_prompt_of_the_run_is_for_who_has_none(tmp_path: Path) -> None:
    rows = captioned(manifest(tmp_path, [0, 1], prompts=True), "--prompt", PLACE)
    for region, prompt in ((0, PLACE), (1, COLOR)):
        alone = captioned(manifest(tmp_path, [region], prompts=False), "--prompt", prompt)
        assert alone[str(region)]["caption"] == rows[str(region)]["caption"]


@pytest.mark.fault("a prompt longer than the model reads, of a region in a manifest")
@pytest.mark.parametrize("cache", ["auto", "none"])
def test_a_prompt_that_is_too_long_is_error_rows_and_touches_nothing_else(tmp_path: Path, cache: str) -> None:
    rows = captioned(manifest(tmp_path, [0, 1, 5], prompts=True), "--cache", cache, exit_code=3)
    long = rows.pop("5")
    assert (long["status"], long["error_code"], long["caption"]) == ("error", "prompt_too_long", None)
    assert "the model reads at most 16,384" in long["error_message"]
    alone = captioned(manifest(tmp_path, [0, 1], prompts=True), "--cache", cache)
    assert {name: row["caption"] for name, row in rows.items()} == {name: row["caption"] for name, row in alone.items()}
    captioned(manifest(tmp_path, [5], prompts=True), "--cache", cache, exit_code=3)
