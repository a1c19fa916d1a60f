import io
import json
import time
from itertools import chain, repeat
from pathlib import Path

import pytest
from rich.console import Console

from pdlm_cli import logs, progress
from pdlm_cli.progress import BarProgress, LineProgress, open_progress, status, watched


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


@pytest.mark.parametrize("form", ["rich", "plain"])
def test_what_earlier_runs_did_counts_for_no_rate(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(progress.log, "info", lambda text, *values, **_: told.append(text % values))
    monkeypatch.setattr(progress.time, "monotonic", chain([100.0], repeat(110.0)).__next__)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120)
    with open_progress(50, form, console, doing="captioning", unit="regions", done=20) as shown:
        shown.advance(10)
        if isinstance(shown, LineProgress):
            shown.line()
    assert "30/50" in stream.getvalue() if form == "rich" else told == ["30 of 50 regions, 1.00 regions/s, 20 s left"]


@pytest.mark.parametrize("wait", [0.0, 60.0])
def test_a_bar_is_only_shown_for_what_lasts(wait: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BEFORE_BAR", wait)
    stream = io.StringIO()
    monkeypatch.setattr(logs, "chosen", (Console(file=stream, force_terminal=True, width=120), "rich"))
    with watched("abc", None, doing="reading", unit="letters") as letters:
        assert list(letters) == ["a", "b", "c"]
    assert ("3/?" in stream.getvalue()) == (wait == 0)
    assert bool(stream.getvalue()) == (wait == 0)


def test_a_bar_may_be_shown_within_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BEFORE_BAR", 0.0)
    stream = io.StringIO()
    monkeypatch.setattr(logs, "chosen", (Console(file=stream, force_terminal=True, width=120), "rich"))
    with (
        watched("ab", 2, doing="captioning", unit="letters") as outer,
        watched("abc", 3, doing="exporting", unit="letters") as inner,
    ):
        assert len([*outer, *inner]) == 5
    assert "2/2" in stream.getvalue() and "3/3" in stream.getvalue()


@pytest.mark.parametrize("form", ["plain", "json"])
def test_what_cannot_be_counted_is_told_of(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.02)
    logs.configure(form)
    with status("joining the weights"):
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 1
    assert "joining the weights, for 0 s" in lines[0]
    if form == "json":
        assert json.loads(lines[0])["doing"] == "joining the weights"


def test_a_terminal_shows_what_cannot_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(logs, "chosen", (Console(file=stream, force_terminal=True, width=120), "rich"))
    with status("reading [a] and b"):
        pass
    assert "reading [a] and b" in stream.getvalue()


def test_nothing_is_told_where_nobody_chose_a_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "chosen", None)
    monkeypatch.setattr(progress, "open_progress", None)
    with watched("abc", 3, doing="reading", unit="letters") as letters:
        assert list(letters) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_lines_may_be_of_a_number_that_nobody_knows(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("INFO", "pdlm_cli"),
        open_progress(None, "plain", Console(), doing="", unit="records") as lines,
    ):
        assert isinstance(lines, LineProgress)
        lines.advance(7)
        lines.line()
    assert caplog.messages[0].startswith("7 records, ") and "left" not in caplog.text


def test_a_log_that_was_cut_in_a_line_goes_on_in_the_next(tmp_path: Path) -> None:
    logs.configure("plain")
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "start"}\n{"event": "pa')
    with logs.also_to(path):
        logs.log.info("on")
    lines = path.read_text().splitlines()
    assert lines[1] == '{"event": "pa' and json.loads(lines[2])["message"] == "on"


def test_a_log_on_a_full_disk_falls_silent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    logs.configure("plain")
    with logs.also_to(tmp_path / "log.jsonl"):
        handler = logs.log.handlers[-1]
        assert isinstance(handler, logs.RunLog)
        written = handler.setStream(open("/dev/full", "w"))  # noqa: SIM115, refuses every byte; the handler closes it
        assert written is not None
        written.close()
        logs.log.info("not written")
    said = capsys.readouterr().err
    assert said.endswith("not written\n")
    assert "Traceback" not in said


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
