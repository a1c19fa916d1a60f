"""`--dry-run-model`: all of a run but the network."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from pdlm_cli.engine_dry import DryEngine
from pdlm_cli.main import main
from tests.cli.processes import dry, small_squares
from tests.cli.support import REPOSITORY, Dataset, box_mask


def test_captions_tell_the_size_of_their_region_and_the_run_says_so(dataset: Dataset, tmp_path: Path) -> None:
    small_squares(dataset, 4)
    assert CliRunner().invoke(main, [*map(str, dry(dataset, tmp_path / "out"))]).exit_code == 0
    table = pq.read_table(tmp_path / "out/data")
    expected = [f"region of {area} pixels" for area in table["mask_area_px"].to_pylist()]
    assert table["caption"].to_pylist() == expected
    facts = json.loads((tmp_path / "out/_pdlm/run.json").read_text())
    assert "dry run" in facts["engine"]["model"] and facts["engine"]["weights"] == "none"
    assert b"dry run" in table.schema.metadata[b"pdlm.model"]


def test_torch_is_not_imported(dataset: Dataset, tmp_path: Path) -> None:
    small_squares(dataset, 1)
    script = f"""
import sys
from pdlm_cli.main import main
try:
    main({[*map(str, dry(dataset, tmp_path / "out", "--also", "coco"))]!r})
except SystemExit as end:
    assert end.code == 0
assert not {{"torch", "transformers"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [(40, 30), (300, 700)])
def test_pictures_and_masks_are_prepared_as_for_the_released_checkpoint(size: tuple[int, int]) -> None:
    from model.config import RegionConfig
    from model.preprocess import prepare_image, prepare_pass
    from model.sizes import SIZES, size_config

    config = size_config(SIZES["8b"], RegionConfig.isolated(6, 4))
    width, height = size
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))
    masks = np.stack([box_mask(width, height, 3, 4, 20 - i, 9) for i in range(3)])
    engine = DryEngine()
    image, expected = engine.prepare_image(picture), prepare_image(picture, config)
    assert np.array_equal(image.tiles, expected.tiles) and image.grid == expected.grid
    one, other = engine.prepare_pass(image, masks, [0, 1, 2], None), prepare_pass(expected, masks, config)
    assert np.array_equal(one.footprints, other.footprints)
    assert np.array_equal(one.boxes, other.boxes)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--dry-run-model", "--model", "checkpoint"],
        ["--dry-run-model", "--dtype", "fp32"],
        ["--overwrite", "--retry-errors"],
        ["--also", "xml"],
    ],
)
def test_what_contradicts_itself_is_a_usage_error(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["caption", "--input", "masks.json", *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.output
