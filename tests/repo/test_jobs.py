"""Jobs and containers: every `pdlm` command line in them is one that pdlm understands."""

import subprocess

import click
import pytest
import yaml

from tests.repo.command_lines import check_pdlm_arguments, shell_commands
from tests.repo.files import ROOT

JOBS = sorted((ROOT / "jobs").rglob("*.sh"))


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_job_is_headed_by_its_command_and_its_options_exist(job):
    script = job.read_text()
    assert script.splitlines()[1].startswith(f"# bash {job.relative_to(ROOT)}")
    subprocess.run(["bash", "-n", job], check=True)
    commands = shell_commands(script, "pdlm")
    assert commands
    for _, *arguments in commands:
        check_pdlm_arguments(arguments)


def test_compose_services_run_captions_without_network_or_root():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert compose["services"].keys() == {"caption", "caption-gpu"}
    for service in compose["services"].values():
        check_pdlm_arguments(service["command"])
        assert service["network_mode"] == "none"
        assert service["read_only"] is True
        assert service["user"] == "${PDLM_USER:-10001:10001}"


def test_compose_asks_for_a_gpu_only_in_its_profile():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert "deploy" not in services["caption"]
    [device] = services["caption-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert services["caption-gpu"]["profiles"] == ["gpu"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["caption", "--inptu", "x"],
        ["caption", "--images", "x", "--output", "y"],
        ["caption", "--input", "x", "--output", "y", "--steps", "many"],
        ["capture"],
        ["convert", "randomly"],
    ],
    ids=["unknown option", "no input", "not a number", "unknown command", "unknown subcommand"],
)
def test_wrong_command_lines_are_noticed(arguments):
    with pytest.raises(click.UsageError):
        check_pdlm_arguments(arguments)
