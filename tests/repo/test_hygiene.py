"""Nothing in the repository depends on one machine or one mirror."""

import re
import tomllib
from itertools import chain

import pytest

from tests.repo.files import ROOT, repository_files

# Written in pieces, so that this file does not find itself.
PATTERNS = {
    "a package registry's host": "|".join(
        re.escape(".".join(parts))
        for parts in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("download", "pytorch", "org"),
            ("registry", "npmjs", "org"),
            ("deb", "debian", "org"),
        ]
    ),
    "an index given as an address": r"(index-url|find-links|trusted-host)[ =]+[\"']?(https?|file):",
    "a path of one machine": r"(?<![\w.~$}-])/(" + "|".join(["work", "root", "home", "farm", "opt/wheels"]) + r")/\w",
}


def texts() -> list[tuple[str, str]]:
    recorded = ROOT / "tests" / "data"  # kept as it was recorded
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content and not path.is_relative_to(recorded):
            found.append((str(path.relative_to(ROOT)), content.decode("utf-8")))
    return found


@pytest.mark.parametrize("what", PATTERNS)
def test_no_file_holds(what):
    pattern = re.compile(PATTERNS[what])
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_every_dependency_has_a_tested_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = chain(project["dependencies"], *project["optional-dependencies"].values())
    names = {re.match(r"[\w-]+", wish).group().lower().replace("_", "-") for wish in wanted} - {"pdlm"}
    pinned = re.findall(r"^([\w.-]+)==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert names <= {name.lower().replace("_", "-") for name in pinned}
