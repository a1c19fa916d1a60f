"""Outputs and runs are on this machine: an address is not taken for a folder that begins with s3:."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pdlm_cli.main import main


@pytest.mark.parametrize(
    "arguments",
    [
        "caption --input masks.json --output s3://bucket/out",
        "caption --input masks.json --since s3://bucket/out",
        "convert coco masks.json s3://bucket/out.json",
        "convert folder masks.json s3://bucket/out",
        "propose photos --model sam s3://bucket/out",
        "inspect masks.json --preview s3://bucket/look.png",
        "merge s3://bucket/0 s3://bucket/1",
        "merge shards/0 shards/1 --output s3://bucket/out",
        "export out --to csv gs://bucket/captions.csv",
        "report s3://bucket/out",
        "show hf://datasets/a/b/c.png",
    ],
)
def test_addresses_are_refused(arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments.split())
    assert result.exit_code == 2
    assert "is an address; expected a path on this machine" in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []
