import io
import json
import time

import pytest
from rich.console import Console

from pdlm_cli import logs, progress
from pdlm_cli.progress import BarProgress, LineProgress, open_progress


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120)
    with open_progress(4, "rich", console, doing="captioning", unit="regions") as bar:
        assert isinstance(bar, BarProgress)
        bar.advance(1)
        bar.advance(3)
    assert "4/4" in stream.getvalue()
    assert "regions/s" in stream.getvalue()


@pytest.mark.parametrize("form", ["plain", "json"])
def test_elsewhere_lines_come_by_themselves(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.02)
    console, chosen = logs.configure(form)
    with open_progress(4, chosen, console, doing="captioning", unit="regions") as lines:
        assert isinstance(lines, LineProgress)
        lines.advance(1)
        time.sleep(0.2)
    text = capsys.readouterr().err
    assert "1 of 4 regions" in text
    assert len(text.splitlines()) > 1
    if form == "json":
        assert json.loads(text.splitlines()[0])["done"] == 1


def test_a_log_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("plain")
    logs.log.info("two\nlines and [bold]markup[/bold]")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bug_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logs.log.exception("failed")
    event = json.loads(capsys.readouterr().err)
    assert event["level"] == "error"
    assert "boom" in event["traceback"]
