"""Options that several commands share, as decorators. Light to import: only names and types."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pdlm_cli import inputs
from pdlm_cli.cores import usable_cores
from pdlm_cli.local_path import LocalPath

Command = TypeVar("Command", bound=Callable[..., Any])

DTYPES = ("auto", "fp32", "bf16", "fp16")
QUANTIZED = ("int8", "fp8", "nf4")  # as model.quantize.STORAGES has them
SIZES = ("tiny", "100m", "1b", "8b")  # as model.sizes has them
LOG_FORMATS = ("auto", "rich", "plain", "json")


def in_order(command: Command, *options: Callable[[Command], Command]) -> Command:
    """Decorate in reverse, so that --help lists the options in the order given."""
    for option in reversed(options):
        command = option(command)
    return command


def input_options(command: Command) -> Command:
    """--input and where its pictures are: inputs.FIELDS."""
    option = click.option(
        "--input",
        metavar="PATH|ADDRESS",
        required=True,
        help="Regions: a JSON or Parquet file, or a folder, zip or tar of pictures with masks. Addresses are s3://, "
        "gs:// and hf://.",
    )
    return source_options(option)(command)


def source_options(first: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """How an input that `first` names is read, and where its pictures are."""
    options = (
        first,
        click.option(
            "--format",
            type=click.Choice(inputs.FORMATS),
            default="auto",
            show_default=True,
            metavar="FORMAT",
            help=f"{', '.join(inputs.FORMATS)}; auto looks at the structure, not at the name.",
        ),
        click.option(
            "--images",
            metavar="PATH|ADDRESS",
            help="Folder, zip or tar, or the address of one, that file names of pictures are relative to.  [default: "
            "the folder of the input]",
        ),
        click.option(
            "--masks",
            metavar="PATH|ADDRESS",
            help="The same for mask pictures, if the input names any.  [default: as --images; for panoptic the folder "
            "named like the JSON]",
        ),
        click.option(
            "--exif",
            type=click.Choice(inputs.EXIF),
            default="auto",
            show_default=True,
            help="Turn pictures as their EXIF says; auto does where only that gives the size the masks belong to.",
        ),
        max_pixels_option,
        click.option(
            "--max-regions",
            type=click.IntRange(min=1),
            default=inputs.MAX_REGIONS,
            show_default=True,
            help="Refuse the regions of images that have more.",
        ),
        click.option(
            "--allow-outside", is_flag=True, help="Follow file names, links and addresses that lead out of --images."
        ),
    )
    return lambda command: in_order(command, *options)


def max_pixels_option(command: Command) -> Command:
    """--max-pixels."""
    return click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        default=inputs.MAX_PIXELS,
        show_default=True,
        help="Refuse larger pictures, before they are decoded.",
    )(command)


def input_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Take the values of input_options out of all that a command was given."""
    return {name: options.pop(name) for name in inputs.FIELDS}


def since_options(what: str) -> Callable[[Command], Command]:
    """--since, --since-by: runs whose images are left out, and what tells an image."""
    options = (
        click.option(
            "--since",
            type=LocalPath(file_okay=False),
            multiple=True,
            metavar="RUN",
            help=f"Leave out {what}; may be given several times.",
        ),
        click.option(
            "--since-by",
            type=click.Choice(("name", "content")),
            default="name",
            show_default=True,
            help="What tells a picture for --since: its name and its content, so that a copy or a renamed one is new; "
            "or its content alone.",
        ),
    )
    return lambda command: in_order(command, *options)


def limit_option(command: Command) -> Command:
    """--limit."""
    return click.option(
        "--limit", type=click.IntRange(min=1), metavar="IMAGES", help="Only the first images of the input."
    )(command)


def shard_option(text: str) -> Callable[[Command], Command]:
    """--shard, as two numbers. text: its help."""
    return click.option("--shard", metavar="I/N", callback=_check_shard, help=text)


def moved_options(command: Command) -> Command:
    """--input, --images and --masks of a finished run: where they are by now. See moved.Moved."""
    return in_order(
        command,
        click.option(
            "--input",
            "input_file",
            metavar="FILE|FOLDER|ADDRESS",
            help="Where the input of the run lies now.  [default: where it lay]",
        ),
        click.option(
            "--images",
            metavar="FOLDER|ARCHIVE|ADDRESS",
            help="Where its pictures lie now.  [default: where they lay]",
        ),
        click.option(
            "--masks",
            "mask_pictures",
            metavar="FOLDER|ARCHIVE|ADDRESS",
            help="Where its mask pictures lie now, if it names any.  [default: where they lay]",
        ),
    )


def model_options(command: Command) -> Command:
    """--model, --device, --dtype, --quantize."""
    return in_order(
        command,
        click.option(
            "--model",
            metavar="PATH|HUB_ID",
            help="Checkpoint folder or Hugging Face hub id.  [default: the small one that ships]",
        ),
        device_option,
        click.option(
            "--dtype",
            type=click.Choice(DTYPES),
            default="auto",
            show_default=True,
            help="Precision of the weights; auto is bf16 on CUDA, fp32 on CPU.",
        ),
        click.option(
            "--quantize",
            type=click.Choice(QUANTIZED),
            help="Store the decoder's weights in 8 or 4 bits: less memory, other captions.  [default: as --dtype says]",
        ),
    )


def compile_option(command: Command) -> Command:
    return click.option(
        "--compile",
        "compiled",
        is_flag=True,
        help="Fuse parts of the decoder by torch.compile first: some seconds to a minute, for runs that last.",
    )(command)


def device_option(command: Command) -> Command:
    """--device."""
    return click.option(
        "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1; auto prefers CUDA."
    )(command)


def workers_option(doing: str) -> Callable[[Command], Command]:
    """--workers: threads that do something ahead of the model."""
    return click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=default_workers,
        help=f"Threads that {doing}.  [default: one less than the cores, at most 8]",
    )


def output_option(default: str, text: str = "Folder of the results.") -> Callable[[Command], Command]:
    """--output, a folder. text: its help."""
    return click.option("--output", type=LocalPath(), default=Path(default), show_default=True, help=text)


def json_option(what: str) -> Callable[[Command], Command]:
    """--json, as `as_json`: print something on stdout."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON on stdout.")


def logging_options(command: Command) -> Command:
    """--log-format."""
    return click.option(
        "--log-format",
        type=click.Choice(LOG_FORMATS),
        default="auto",
        show_default=True,
        help="Logs and progress on stderr; auto is rich on a terminal, plain lines elsewhere.",
    )(command)


def default_workers() -> int:
    """One core stays with the thread that feeds the model."""
    return max(1, min(8, usable_cores() - 1))


def _check_shard(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """I/N to its two numbers."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value)
    if match is None or int(match[1]) >= int(match[2]):
        raise click.BadParameter(f"{value!r}; expected I/N with I from 0 to N - 1, like 0/4 to 3/4")
    return int(match[1]), int(match[2])
