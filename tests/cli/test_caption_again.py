"""The same command once more: what is finished is not done again, what is empty needs no model, others are refused."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pdlm_cli import caption_job
from tests.cli.runs import FAST, caption, pdlm
from tests.cli.support import CHECKPOINT, Dataset

pytestmark = pytest.mark.usefixtures("in_process")


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
    merged = pdlm("merge", *shards, "--output", tmp_path / "merged")
    assert merged.exit_code == 0, merged.output
    again = caption(*asked, empty, "--shard", f"{empty.name}/4")
    assert again.exit_code == 0 and "is finished: 0 rows" in again.stderr
    refused = caption(*asked, tmp_path / "none", "--limit", 1, "--since", full, "--cache", "refresh=0")
    assert refused.exit_code == 2


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
