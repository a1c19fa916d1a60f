import tomllib
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from pdlm_cli import __version__, device, options
from pdlm_cli.main import COMMANDS, main
from tests.cli.support import REPOSITORY


def all_commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from all_commands(child, (*path, name))


ALL = dict(all_commands(main))


def examples(*path: str) -> list[str]:
    """The command lines in the help of a command."""
    text = (ALL[path].help or "").split("Examples:")[1]
    return [line.strip() for line in text.replace("\\\n", "").splitlines() if line.strip().startswith("pdlm")]


@pytest.mark.parametrize("path", list(ALL), ids=lambda path: " ".join(("pdlm", *path)))
def test_every_command_explains_itself_with_examples(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"pdlm {' '.join(path)}".strip() in result.output.split("Examples:")[1]
    for parameter in ALL[path].params:
        assert not isinstance(parameter, click.Option) or parameter.help, f"{parameter.name} has no help"


def test_the_list_of_commands_says_what_the_commands_say() -> None:
    context = click.Context(main)
    for name, line in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.short_help == line


def test_unknown_commands_are_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["captoin"])
    assert result.exit_code == 2
    assert "captoin" in result.output


def test_version_is_that_of_the_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert CliRunner().invoke(main, ["--version"]).output.split()[-1] == __version__ == project["version"]


def test_choices_are_those_of_the_library() -> None:
    from model.quantize import STORAGES
    from model.sizes import SIZES

    assert ("auto", *device.DTYPES) == options.DTYPES
    assert tuple(STORAGES) == options.QUANTIZED
    assert tuple(SIZES) == options.SIZES


def test_defaults_that_help_tells_in_words_are_those_of_the_engine() -> None:
    from pdlm_cli.engine import CPU_BATCH

    [batch_size] = [option for option in ALL[("caption",)].params if option.name == "batch_size"]
    assert isinstance(batch_size, click.Option)
    assert f"auto is {CPU_BATCH} on CPU" in (batch_size.help or "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--steps", "0"],
        ["--cache", "refresh=0"],
        ["--cache", "sometimes"],
        ["--top-p", "0"],
        ["--sampler", "magic"],
        ["--max-error-rate", "2"],
        ["--batch-size", "many"],
        ["--batch-size", "0"],
        ["--pass-timeout", "0"],
        ["--pass-timeout", "nan"],
        ["--top-p", "nan"],
        ["--devices", "0,,1"],
        ["--devices", "all,cpu"],
        ["--devices", "0,1", "--device", "cpu"],
    ],
)
def test_values_out_of_range_are_usage_errors(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["caption", "--input", "masks.json", *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--threshold 0.8", "it is for --sampler threshold, not for auto"),
        ("--factor 0.5 --sampler topk", "it is for --sampler factor, not for topk"),
        ("--sampler factor --entropy 0.5", "it is for --sampler entropy, not for factor"),
        ("--factor 0.5", None),
        ("--entropy 0.5 --sampler entropy", None),
        ("--sampler topk --threshold 0.9 --factor 0.25 --entropy 0.1", None),
    ],
)
def test_settings_of_another_sampler_are_usage_errors(arguments: str, message: str | None) -> None:
    result = CliRunner().invoke(main, ["caption", "--input", "nothing.json", *arguments.split()])
    if message is None:
        assert "Invalid value" not in result.output
    else:
        assert result.exit_code == 2
        assert message in result.output
