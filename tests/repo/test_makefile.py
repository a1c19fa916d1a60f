"""The Makefile: what it lists is what it has."""

import re
import subprocess

import pytest

from tests.repo.files import ROOT

TARGETS = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]  # which a make that runs the tests would have it print
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_is_the_default_and_lists_every_target():
    listed = make().stdout
    assert listed == make("help").stdout
    assert re.findall(r"^  make (\w+) +\w", listed, re.MULTILINE) == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_target_is_made_of_known_parts(target):
    planned = make("--dry-run", target)
    assert planned.returncode == 0, planned.stderr


def test_parity_without_a_folder_says_what_is_missing():
    # --assume-old: the set-up is not what is looked at here, and may be another environment than .venv
    asked = make("--assume-old=.venv/.installed", "parity")
    assert asked.returncode == 2
    assert "DIR=" in asked.stderr


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ('{"dependencies": [{"name": "pip", "version": "24.0", "vulns": []}]}', True),
        ('{"dependencies": [{"name": "pip", "skip_reason": "Dependency not found"}]}', False),  # which it calls clean
        ("", False),  # no network
    ],
)
def test_audit_asks_only_a_database_that_knows(tmp_path, told, asked):
    """With stand-ins for what it installs and runs. told: what pip-audit says of one package."""
    audit = f"""case "$*" in *constraints.txt*) echo audited;; *) echo '{told}';; esac"""
    for name, script in {"python": "true", "bandit": "true", "pip-audit": audit}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = make("--assume-old=.venv/.installed", "audit", f"BIN={tmp_path}")
    assert done.stdout.endswith("\naudited\n") == asked
    assert done.returncode == (0 if asked else 2), done.stderr
    assert asked or "pip-audit was NOT run, and nothing is known of the versions in constraints.txt" in done.stderr
