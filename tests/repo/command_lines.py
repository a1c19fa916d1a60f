"""`pdlm ...` command lines found in documents, jobs and containers, checked against the real options."""

import re
import shlex

import click

from pdlm_cli.main import main


def shell_commands(script: str, program: str) -> list[list[str]]:
    """The words of every command of a shell script that starts with `program`, continuation lines joined."""
    joined = re.sub(r"\\\n\s*", " ", script)
    starts = re.finditer(rf"^[ \t]*(?:\$ )?(?:exec )?({re.escape(program)}(?:[ \t].*)?)$", joined, re.MULTILINE)
    return [shlex.split(start.group(1), comments=True) for start in starts]


def check_pdlm_arguments(arguments: list[str]) -> None:
    """Raises click.UsageError unless the options exist, have values that fit, and none that is required lacks.

    Paths are not looked up: those of a container or of an example need not exist here.
    """
    command: click.Command = main
    context = click.Context(command, info_name="pdlm")
    rest = [word for word in arguments if word != "$@"]
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    given, left_over, _ = command.make_parser(context).parse_args(rest)
    if left_over:
        raise click.UsageError(f"unexpected {left_over}", context)
    for parameter in command.params:
        if parameter.name not in given:
            if parameter.required:
                raise click.MissingParameter(ctx=context, param=parameter)
        elif parameter.nargs != -1 and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, given[parameter.name])
