"""README and the other documents: what they tell a reader to type exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.command_lines import check_pdlm_arguments, shell_commands
from tests.repo.files import ROOT, repository_files
from tests.repo.test_makefile import TARGETS

DOCUMENTS = [path for path in repository_files() if path.suffix == ".md" and "data" not in path.parts]
README = ROOT / "README.md"
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n|\n(?= {4}))+")  # code without a fence: what a reader types in a shell


def commands(document: Path, program: str) -> list[list[str]]:
    return [words for block in INDENTED.findall(document.read_text()) for words in shell_commands(block, program)]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_pdlm_commands_are_understood(document):
    for _, *arguments in commands(document, "pdlm"):
        if arguments and "--help" not in arguments:
            check_pdlm_arguments(arguments)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_make_targets_exist(document):
    inline = [typed.split()[0] for typed in re.findall(r"`make ([^`]+)`", document.read_text())]
    targets = inline + [words[1] for words in commands(document, "make")]
    assert set(targets) <= set(TARGETS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_modules_that_are_to_be_run_exist(document):
    modules = set(re.findall(r"python -m ((?:tests|pdlm_cli|model)[.\w]*)", document.read_text()))
    paths = [ROOT / module.replace(".", "/") for module in modules]
    assert [
        path for path in paths if not path.with_suffix(".py").exists() and not (path / "__main__.py").exists()
    ] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_linked_files_exist(document):
    linked = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    local = [link for link in linked if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_no_document_has_a_fence_that_is_not_looked_at():
    texts = [path.read_text() for path in DOCUMENTS]
    languages = {language for text in texts for language in re.findall(r"^```(\w+)", text, re.MULTILINE)}
    assert languages <= {"python"}


def test_readme_lists_every_module_beside_the_packages_themselves():
    listed = README.read_text().split("## Files")[1]
    modules = [
        path for path in repository_files() if path.suffix == ".py" and path.parent.name in ("model", "pdlm_cli")
    ]
    assert [name(path) for path in modules if path.parent.parent == ROOT and path.name not in listed] == [
        "model/__init__.py",
        "pdlm_cli/__init__.py",
    ]


def test_readme_starts_with_the_two_commands():
    assert commands(README, "make")[:2] == [["make", "demo"], ["make", "test"]]


def test_readme_python_examples_run(tmp_path):
    """In a folder that has what they name: the examples, the checkpoint that ships, and the output of a run."""
    for shared in ("examples", "model"):
        (tmp_path / shared).symlink_to(ROOT / shared)
    job = ["caption", "--input", "examples/coco/masks.json", "--images", "examples", "--steps", "2", "--length", "4"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for arguments in (["-m", "pdlm_cli", *job], *(["-c", code] for code in PYTHON.findall(README.read_text()))):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
