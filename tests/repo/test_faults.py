"""The table of docs/faults.md and the tests that carry its rows do not drift apart."""

import pytest

from tests.faults import FaultTable, marked_files, rows


def test_every_row_has_a_test_and_every_test_a_row():
    assert len(rows()) == len(set(rows()))
    assert set().union(*marked_files().values()) == set(rows())


def test_the_table_tells_what_failed_and_what_was_seen():
    table = FaultTable()
    first, second, third = rows()[:3]
    table._rows = {"a": [first, third], "b": [second]}
    for name, outcome in (("a", "passed"), ("b", "failed")):
        table.pytest_runtest_logreport(
            pytest.TestReport(name, ("", 0, ""), {}, outcome, None, "call", user_properties=[("seen", "exit 5")])
        )
    assert table.lines()[0] == f"ok      {first}: exit 5"
    assert table.lines()[1] == f"NOT OK  {second}: b"
    assert table.lines()[2] == f"ok      {third}: exit 5"
    assert table.lines()[3].startswith("NOT RUN")
