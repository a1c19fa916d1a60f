"""`pdlm chat`."""

import io
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click

from pdlm_cli.decode_options import answer_options, chat_settings, sampling_options, sampling_seed_option
from pdlm_cli.local_path import LocalPath
from pdlm_cli.options import json_option, logging_options, max_pixels_option, model_options
from pdlm_cli.utf8 import checked_line


@click.command(short_help="Answer questions about whole pictures.")
@click.argument("image", type=LocalPath(exists=True, dir_okay=False))
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
@click.option("--forget", is_flag=True, help="Ask each question as if it were the first.")
@answer_options(length=128, block=32, steps=128, sampler="topk")
@sampling_options
@sampling_seed_option
@model_options
@max_pixels_option
@json_option("each answer, with its confidence and times,")
@logging_options
def chat(
    image: Path,
    questions: tuple[str, ...],
    forget: bool,
    model: str | None,
    device: str,
    dtype: str,
    quantize: str | None,
    max_pixels: int,
    as_json: bool,
    log_format: str,
    **settings: Any,
) -> None:
    """Answer QUESTIONs about IMAGE, one a line. Without any, they are read from stdin, or asked for on a terminal
    until Ctrl-D.

    Each question is asked after those before it, with their answers, unless --forget. A region checkpoint answers as
    well as an image-level one, if it has learnt to. The small one that ships knows drawn scenes alone: it describes
    them and their objects, and guesses where it is to count or to say yes or no.

    \b
    Examples:
      pdlm chat photo.jpg "Describe the picture." "What is in the picture?"
      pdlm chat photo.jpg
      pdlm chat photo.jpg --json < questions.txt
    """
    from pdlm_cli import logs
    from pdlm_cli.chatting import open_conversation
    from pdlm_cli.errors import InputError
    from pdlm_cli.progress import status
    from pdlm_cli.stdout import print_line, printable

    logs.configure(log_format)
    if not all(question.strip() for question in questions):
        raise click.UsageError("a QUESTION is blank; leave it out, or say what to ask")
    asked = iter(questions) if questions else _asked()
    if not questions and not sys.stdin.isatty():  # what is not there need not wait for the model
        first = next(asked, None)
        if first is None:
            raise InputError("stdin has no question; give QUESTIONs after IMAGE, or write them to stdin, one a line")
        asked = chain([first], asked)
    talk = open_conversation(
        image,
        chat_settings(settings),
        remember=not forget,
        checkpoint=model,
        device=device,
        dtype=dtype,
        quantize=quantize,
        max_pixels=max_pixels,
    )
    for question in asked:
        with status("answering"):
            answer = talk.ask(question)
        said = [answer.to_json()] if as_json else [printable(line) for line in answer.answer.splitlines()]
        if not print_line("\n".join(said)):
            return  # nobody would see the other answers


def _asked() -> Iterator[str]:
    """Questions of stdin, a line each; blank lines are none. Raises InputError."""
    assert isinstance(sys.stdin, io.TextIOWrapper)
    if sys.stdin.isatty():
        sys.stdin.reconfigure(errors="surrogateescape")
        lines = _typed()
    else:  # files of Windows may begin with a byte order mark
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape")
        lines = iter(sys.stdin)
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield checked_line(line.strip(), f"line {number} of stdin")


def _typed() -> Iterator[str]:
    """Lines from a terminal, each asked for."""
    import readline  # noqa: F401, a line can be edited, and the ones before it come back

    while True:
        try:
            yield input("> ")
        except EOFError:
            click.echo(err=True)
            return
