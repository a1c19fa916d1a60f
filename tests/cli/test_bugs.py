"""An exception that nothing expects: told once in the form of the logs, kept in the log of the run, exit code 1."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pdlm_cli import caption_job, logs
from pdlm_cli.errors import DeviceError
from pdlm_cli.main import main
from tests.cli.support import Dataset


def caption(dataset: Dataset, out: Path, form: str) -> Result:
    dataset.region(dataset.image())
    arguments = ["--input", str(dataset.write()), "--output", str(out), "--dry-run-model", "--log-format", form]
    return CliRunner().invoke(main, ["caption", *arguments])


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(caption_job.PartRunner, "run", run)


def last_event(out: Path) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((out / "_pdlm/log.jsonl").read_text().splitlines()[-1])
    return event


@pytest.mark.parametrize("form", ["json", "plain", "rich"])
def test_a_bug_is_told_once_and_kept(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    failing(monkeypatch, RuntimeError("boom\nboom"))
    result = caption(dataset, tmp_path / "out", form)
    assert result.exit_code == 1
    assert result.stderr.count("Traceback (most recent call last)") == 1
    event = last_event(tmp_path / "out")
    if form == "json":
        shown = json.loads(result.stderr.splitlines()[-1])
        assert (shown["level"], shown["message"]) == (event["level"], event["message"])
        assert "RuntimeError: boom" in shown["traceback"]
    elif form == "plain":
        assert '\nTraceback (most recent call last):\n  File "' in result.stderr
    assert event["level"] == "error"
    assert "a bug in pdlm" in event["message"] and "RuntimeError: boom" in event["message"]
    assert "in caption_manifest" in event["traceback"]


def test_an_error_that_is_expected_is_kept_without_a_traceback(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, DeviceError("the device is gone"))
    result = caption(dataset, tmp_path / "out", "plain")
    assert result.exit_code == 6
    assert result.stderr.count("the device is gone") == 1 and "Traceback" not in result.stderr
    event = last_event(tmp_path / "out")
    assert event["message"] == "the device is gone" and "traceback" not in event


def test_a_bug_before_there_are_logs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def configure(*arguments: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(logs, "configure", configure)
    assert CliRunner().invoke(main, ["report", str(tmp_path)]).exit_code == 1
    assert "RuntimeError: boom" in caplog.messages[-1]
    assert caplog.text.count("Traceback") == 1
