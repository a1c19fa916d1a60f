"""The `pdlm` command group: commands are imported when they are used, and errors become exit codes."""

import importlib
import logging
from typing import Any

import click

from pdlm_cli import __version__
from pdlm_cli.errors import Interrupted, PdlmError
from pdlm_cli.signals import StopSignals
from pdlm_cli.stdout import prepare_streams
from pdlm_cli.utf8 import escaped, is_utf8

# name -> its line in `pdlm --help`, kept here so that the list costs no import of the command.
COMMANDS = {
    "caption": "Caption every masked region of a set of images.",
    "inspect": "Say what an input holds and what is wrong with it.",
    "chat": "Answer questions about whole pictures.",
    "propose": "Make regions for pictures that have none.",
    "merge": "Join the shards of a run.",
    "export": "Write the captions of a finished run in another form.",
    "show": "Draw captions beside their picture, or how a training run learnt.",
    "report": "Write a run as one page to look through: pictures, captions, errors, times.",
    "convert": "Convert inputs, make or convert checkpoints.",
    "train": "Train a model, as a job file says.",
    "ablations": "Repeat the paper's ablations in miniature.",
    "data": "Make data to train and to test with.",
    "eval": "Measure how good captions and answers are.",
    "bench": "Measure how fast captions come.",
}

BUG = 1  # exit code; those of errors that are expected are in `errors`


class LazyGroup(click.Group):
    """Imports `pdlm_cli.commands.<name>` only when `<name>` is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"pdlm_cli.commands.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            if not is_utf8(argument):
                raise click.UsageError(
                    f"the argument {escaped(argument)} is not UTF-8. Give text in UTF-8; rename the file or folder, or "
                    "call pdlm from inside the folder"
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        prepare_streams()
        try:
            # Commands with something to finish put handlers of their own in place of these.
            with StopSignals():
                return super().invoke(ctx)
        except PdlmError as error:
            logging.getLogger("pdlm_cli").error("%s", error)
            ctx.exit(error.exit_code)
        except Interrupted as signal:
            logging.getLogger("pdlm_cli").error("stopped by %s with nothing to finish", signal.name)
            ctx.exit(signal.exit_code)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise  # click's own to handle
        except Exception as error:
            from pdlm_cli.logs import ending

            logging.getLogger("pdlm_cli").handle(ending(error))
            ctx.exit(BUG)


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="pdlm")
def main() -> None:
    """Parallel region captions with PerceptionDLM, in batches, from files to Parquet.

    \b
    Examples:
      pdlm caption --input masks.json --images photos/ --output out/
      pdlm inspect masks.json
      pdlm inspect masks.json --images photos/ --preview look.png
      pdlm convert random --size tiny tiny-checkpoint/
      pdlm caption --help

    \b
    Exit codes:
      0  all rows are ok, or errors stay within --max-error-rate
      1  a bug in pdlm                   2  usage or configuration
      3  finished, with error rows       4  the input cannot be read
      5  the output cannot be written    6  the device failed
      7  another run holds the output    130/143  interrupted
    """
