"""The built wheel, installed outside the checkout: whole, and nothing but the two packages."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.repo.files import ROOT, repository_files

PACKAGES = ("model", "pdlm_cli")


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, because setuptools leaves its build folder in the source and reads old files back from it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in repository_files():
        name = path.relative_to(ROOT)
        if name.parts[0] in PACKAGES or str(name) in {"pyproject.toml", "README.md", "LICENSE"}:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, source / name)
    run(source, sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The bin folder of a new environment: the wheel, and the third-party packages of this one.

    They come in by a .pth file, whose own .pth files Python does not follow: an editable install of the checkout in
    this environment stays out of sight.
    """
    venv = tmp_path_factory.mktemp("venv")
    run(venv, sys.executable, "-m", "venv", "--without-pip", venv)
    python = venv / "bin" / "python"
    run(venv, sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    [site] = (venv / "lib").glob("python*/site-packages")
    (site / "third_party.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin"


def test_wheel_holds_the_two_packages_whole(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    names = {path.relative_to(ROOT) for path in repository_files()}
    assert packed == {str(name) for name in names if name.parts[0] in PACKAGES}


def test_installed_command_runs_outside_the_checkout(installed, tmp_path):
    assert "caption" in run(tmp_path, installed / "pdlm", "--help")


def test_installed_packages_are_the_ones_imported(installed, tmp_path):
    script = "import model.config, pdlm_cli.main; print(model.config.__file__); print(pdlm_cli.main.__file__)"
    for path in run(tmp_path, installed / "python", "-c", script).split():
        assert Path(path).is_relative_to(installed.parent)


def test_installed_command_captions_with_the_checkpoint_that_ships(installed, tmp_path):
    examples = ROOT / "examples"
    arguments = ["--input", examples / "coco" / "masks.json", "--images", examples, "--output", tmp_path / "out"]
    run(tmp_path, installed / "pdlm", "caption", *arguments, "--steps", "2", "--length", "4", "--limit", "1")
    assert list((tmp_path / "out" / "data").glob("part-*.parquet"))
