"""python -m tests.faults: every row of docs/faults.md made to happen, a line each.

More arguments go to pytest: `-m "fault or soak"` adds the tests that take minutes.
"""

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[1] / "docs/faults.md"


def rows() -> list[str]:
    """The faults of the document, in its order."""
    cells = re.findall(r"^\| (.+?) \| .+ \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert cells[0] == "fault"
    return cells[1:]


def marked_files() -> dict[Path, set[str]]:
    """The files with tests of faults, and the rows they name. Read, not imported: most tests are of other things."""
    found = {}
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        marks = {ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "pytest.mark.fault"}
        if marks:
            found[path] = marks
    return found


class FaultTable:
    """A pytest plugin that gathers what the tests of each row have seen."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}
        self._seen: dict[str, dict[str, None]] = defaultdict(dict)  # in order, each once
        self._failed: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._rows[item.nodeid] = [mark.args[0] for mark in item.iter_markers("fault")]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = [str(value) for name, value in report.user_properties if name == "seen"]
        for row in self._rows.get(report.nodeid, ()):
            if report.failed:
                self._failed[row].append(report.nodeid)
            elif report.when == "call" and report.passed:
                self._seen[row] |= dict.fromkeys(told or ["as documented"])

    def lines(self) -> list[str]:
        lines = []
        for row in rows():
            if self._failed[row]:
                lines.append(f"NOT OK  {row}: {', '.join(self._failed[row])}")
            elif self._seen[row]:
                lines.append(f"ok      {row}: {'; '.join(self._seen[row])}")
            else:
                lines.append(f"NOT RUN {row}")
        return lines


def main() -> int:
    table = FaultTable()
    code = pytest.main(["-q", "-m", "fault and not soak", *sys.argv[1:], *map(str, marked_files())], plugins=[table])
    print("\n" + "\n".join(table.lines()))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
