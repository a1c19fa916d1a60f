"""Signals to commands that have nothing to finish: they leave with the code of the signal, and leave nothing behind."""

import os
import signal
from pathlib import Path
from typing import BinaryIO

import pytest
from click.testing import CliRunner

from pdlm_cli.conversions import coco
from pdlm_cli.main import main
from tests.cli.written_inputs import FOLDER


@pytest.mark.fault("SIGTERM or SIGINT")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_any_command_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> None:
    def killed(file: BinaryIO, items: object) -> None:
        file.write(b"half")
        os.kill(os.getpid(), number)

    monkeypatch.setattr(coco, "write_items", killed)
    before = signal.getsignal(number)
    result = CliRunner().invoke(main, ["convert", "coco", str(FOLDER / "coco/masks.json"), str(tmp_path / "out.json")])
    assert result.exit_code == code, result.output
    assert "stopped by" in result.stderr
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(number) == before
