"""The examples of `pdlm ablations --help` are command lines it takes; running them takes hours."""

import shlex

import pytest

from pdlm_cli.commands.ablations import ablations
from tests.cli.support import REPOSITORY
from tests.cli.test_help import examples


@pytest.mark.parametrize("line", examples("ablations"))
def test_examples_are_understood(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(REPOSITORY)
    context = ablations.make_context("ablations", shlex.split(line)[2:])
    assert context.params["jobs"].is_dir()
