import io
from dataclasses import replace

import pytest
from rich.console import Console

from pdlm_cli.report import Report
from tests.cli.test_parquet import ERROR, OK

SKIPPED = replace(ERROR, status="skipped", error_code=None)


def report(rows: list, *, max_error_rate: float = 0.0) -> Report:
    result = Report(max_error_rate=max_error_rate)
    result.image(rows)
    return result


def shown(result: Report) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(result.render())
    return console.export_text(styles=True)


@pytest.mark.parametrize(
    ("rows", "rate", "code"),
    [
        ([], 0.0, 0),
        ([OK], 0.0, 0),
        ([OK, ERROR], 0.0, 3),
        ([OK, ERROR], 0.5, 0),
        ([SKIPPED], 0.0, 0),
        ([OK, SKIPPED, ERROR], 0.34, 0),
        ([ERROR], 0.5, 3),
        ([replace(ERROR, error_code="missing_image")], 1.0, 4),
        ([OK, replace(ERROR, error_code="missing_image")], 0.0, 3),
    ],
)
def test_rows_decide_the_exit_code(rows: list, rate: float, code: int) -> None:
    assert report(rows, max_error_rate=rate).exit_code == code


def test_a_signal_decides_before_anything_else() -> None:
    result = report([ERROR])
    result.stop_signal = 2
    assert result.exit_code == 130


def test_codes_are_counted() -> None:
    result = report([OK, ERROR, replace(ERROR, error_code="empty_mask"), ERROR])
    summary = result.summary()
    assert summary["errors"] == {"bad_mask": 2, "empty_mask": 1}
    assert (summary["rows"], summary["ok"], summary["error_rate"]) == (4, 1, 0.75)
    assert "errors: bad_mask" in shown(result)


def test_tokens_a_step_are_shown_where_steps_were_taken() -> None:
    rows = [replace(OK, tokens_generated=9, denoise_steps=4), replace(OK, tokens_generated=7, denoise_steps=2)]
    assert report(rows).summary()["tokens_per_forward"] == 2.667
    assert "tokens a step" in shown(report(rows)) and "2.67" in shown(report(rows))
    assert "tokens a step" not in shown(report([ERROR]))


def test_skipped_rows_are_counted_apart() -> None:
    result = report([OK, SKIPPED, SKIPPED, ERROR])
    assert (result.rows, result.ok, result.skipped, result.errors.total()) == (4, 1, 2, 1)
    assert (result.tokens, len(result.examples)) == (OK.tokens_generated, 1)
    assert "skipped" in shown(result) and "skipped" not in shown(report([OK]))
    assert result.counted() == "4 rows, 1 of them errors, 2 skipped"


def test_what_a_device_does_not_compute_it_waits() -> None:
    result = report([OK])
    result.seconds = 4.0
    assert result.summary()["device_idle"] == []
    result.busy = (("cpu", 3.0), ("cpu", 1.0))
    assert result.summary()["device_idle"] == [
        {"device": "cpu", "seconds": 1.0, "share": 0.25},
        {"device": "cpu", "seconds": 3.0, "share": 0.75},
    ]
    assert "cpu idle" in shown(result) and "3.0 s, 75%" in shown(result)


def test_captions_are_neither_markup_nor_control_codes() -> None:
    text = shown(report([replace(OK, caption="[red]a[/red] \x1b[31mcat\x1b[0m\a\u202e [/]")]))
    assert "[red]a[/red]" in text
    assert "[/]" in text
    assert "\x1b[31m" not in text
    assert "\a" not in text
    assert "\u202e" not in text
