import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests import parity

DATA = Path(__file__).parents[1] / "data"
CASES = {"region": 57, "chat": 7}  # recorded tensors in each folder


@pytest.mark.parametrize("folder", CASES)
def test_every_recorded_tensor_is_reproduced(folder: str) -> None:
    lines = list(parity.compare(DATA / folder))
    assert len(lines) == CASES[folder]
    assert [str(line) for line in lines if not line.passed] == []


def test_script_works_on_a_folder_from_elsewhere_and_fails_on_an_excess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(DATA / "region" / "checkpoint", tmp_path / "checkpoint")
    case = tmp_path / "case"
    shutil.copytree(DATA / "region" / "one_region_1x1", case)
    assert parity.main([str(tmp_path)]) == 0

    expected = load_file(case / "expected.safetensors")
    expected["logits_step0"][0, 0] += 0.01
    expected["bboxes"][0, 0] += 1e-12
    expected["never_heard_of"] = expected["grid"].clone()
    save_file(expected, case / "expected.safetensors")
    capsys.readouterr()
    assert parity.main([str(tmp_path)]) == 1
    exceeded = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "EXCEEDED" in line]
    assert exceeded == ["bboxes", "logits_step0", "never_heard_of"]


def test_script_says_what_it_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parity.main([str(tmp_path)]) == 2
    assert "expected a folder with checkpoint/" in capsys.readouterr().err
