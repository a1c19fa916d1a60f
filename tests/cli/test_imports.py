"""pdlm_cli.commands -> pdlm_cli library -> model, never back, and nothing heavy before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import REPOSITORY

HEAVY = ("torch", "transformers")
RUN_MAIN = """
from pdlm_cli.main import main
try:
    main({})
except SystemExit as end:
    assert not end.code
"""
LIGHT_MODULES = (
    "manifest",
    "regions",
    "passes",
    "parquet",
    "report",
    "main",
    "options",
    "decode_options",
    "scene_options",
    "run_dir",
    "caption_job",
    "devices.fleet",
    "sources",
    "inspection",
    "input_conversion",
    "conversions",
    "proposing",
    "remote",
)


def imports_of(file: Path) -> set[str]:
    """Full names of every module a file imports, at any depth; `from a import b` counts as `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(), file)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def uses(names: set[str], package: str) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for name in names)


def files(folder: str) -> list[Path]:
    found = sorted((REPOSITORY / folder).rglob("*.py"))
    assert found
    return found


def label(file: Path) -> str:
    return str(file.relative_to(REPOSITORY))


@pytest.mark.parametrize("file", files("model"), ids=label)
def test_the_model_knows_nothing_of_the_command_line(file: Path) -> None:
    names = imports_of(file)
    for package in ("pdlm_cli", "click", "rich", "pyarrow", "pycocotools"):
        assert not uses(names, package), f"model imports {package}"


@pytest.mark.parametrize("file", files("pdlm_cli/commands"), ids=label)
def test_commands_use_the_library_only(file: Path) -> None:
    names = imports_of(file)
    assert not uses(names, "pdlm_cli.commands"), "commands import each other"
    assert not uses(names, "model"), "a command reaches past the library"


@pytest.mark.parametrize("file", files("pdlm_cli"), ids=label)
def test_click_stays_at_the_edge(file: Path) -> None:
    edge = file.parent.name == "commands" or file.name in (
        "main.py",
        "options.py",
        "decode_options.py",
        "scene_options.py",
        "local_path.py",
        "number_range.py",
    )
    names = imports_of(file)
    assert edge or not uses(names, "click")
    assert not uses(names, "pdlm_cli.commands")


@pytest.mark.parametrize("file", [*files("pdlm_cli"), *files("model")], ids=label)
def test_the_package_model_is_never_imported_by_its_bare_name(file: Path) -> None:
    assert "model" not in imports_of(file)


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(result.stderr.split())


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_light_modules_import_neither_torch_nor_transformers(module: str) -> None:
    loaded = modules_after(f"import pdlm_cli.{module}")
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in ("caption", "inspect", "convert"))]
)
def test_help_imports_only_click(arguments: list[str]) -> None:
    loaded = modules_after(RUN_MAIN.format(arguments))
    assert "click" in loaded
    assert not loaded & {*HEAVY, "pyarrow", "numpy", "PIL", "rich", "pycocotools"}


def test_help_of_the_group_imports_no_command() -> None:
    loaded = modules_after(RUN_MAIN.format(["--help"]))
    assert "pdlm_cli.commands" not in loaded
