"""Options that several commands share, as decorators. Light to import: only names and types."""

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pdlm_cli import inputs

Command = TypeVar("Command", bound=Callable[..., Any])

# As model.rules has them; that module costs an import of torch.
SAMPLERS = ("auto", "remask", "topk", "threshold", "factor", "entropy")
DTYPES = ("auto", "fp32", "bf16", "fp16")
QUANTIZED = ("int8", "fp8", "nf4")  # as model.quantize.STORAGES has them
LOG_FORMATS = ("auto", "rich", "plain", "json")


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
            help="Folder, zip, tar or address that file names of pictures are relative to.  [default: the folder of "
            "the input]",
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
        click.option(
            "--max-pixels",
            type=click.IntRange(min=1),
            default=inputs.MAX_PIXELS,
            show_default=True,
            help="Refuse larger pictures, before they are decoded.",
        ),
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
    return lambda command: _apply(command, *options)


def input_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Take the values of input_options out of all that a command was given."""
    return {name: options.pop(name) for name in inputs.FIELDS}


def model_options(command: Command) -> Command:
    """--model, --device, --dtype, --quantize."""
    return _apply(
        command,
        click.option(
            "--model",
            metavar="PATH|HUB_ID",
            help="Checkpoint folder or Hugging Face hub id.  [default: the small one that ships]",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1; auto prefers CUDA."),
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


def decode_options(command: Command) -> Command:
    """--steps to --cache: the fields of model.decode.DecodeSettings."""
    return _apply(
        command,
        click.option(
            "--steps",
            type=click.IntRange(min=1),
            default=32,
            show_default=True,
            help="Denoising steps; fewer is faster.",
        ),
        click.option(
            "--length",
            type=click.IntRange(min=1),
            default=32,
            show_default=True,
            help="Tokens a caption may have.",
        ),
        click.option("--prompt", metavar="TEXT", help="Instruction.  [default: the one the checkpoint learnt]"),
        click.option(
            "--sampler",
            type=click.Choice(SAMPLERS),
            default="auto",
            show_default=True,
            help="Which tokens a step writes. topk: an even share, the surest first; remask, the published rule: the "
            "same, but it may take them back; threshold, factor, entropy: more where the model is sure, so that "
            "captions take fewer steps. auto: factor, remask for published checkpoints.",
        ),
        click.option(
            "--threshold",
            type=click.FloatRange(0, 1, min_open=True),
            default=0.9,
            show_default=True,
            help="For --sampler threshold: write all tokens at least this probable.",
        ),
        click.option(
            "--factor",
            type=click.FloatRange(min=0, min_open=True),
            default=0.25,
            show_default=True,
            help="For --sampler factor: write n tokens while the doubt of the last is below factor / (n + 1).",
        ),
        click.option(
            "--entropy",
            type=click.FloatRange(min=0),
            default=0.1,
            show_default=True,
            help="For --sampler entropy: write tokens while their entropies, but for the last, stay below this sum, in "
            "nats.",
        ),
        click.option(
            "--stable",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Write a caption to its end once this many steps have changed nothing; 0 for never.",
        ),
        click.option(
            "--temperature",
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="0 takes the likeliest token.",
        ),
        click.option(
            "--top-p",
            type=click.FloatRange(0, 1, min_open=True),
            default=1.0,
            show_default=True,
            help="Sample from the likeliest tokens of this total probability.",
        ),
        click.option(
            "--top-k",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Sample from this many likeliest tokens; 0 for all.",
        ),
        click.option(
            "--cfg-scale",
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="Classifier-free guidance; 0 is off.",
        ),
        click.option(
            "--cache",
            default="auto",
            show_default=True,
            callback=_check_cache,
            help="Keys and values between steps: auto, none, exact, frozen or refresh=K.",
        ),
    )


def sampling_seed_option(command: Command) -> Command:
    """--seed, where it only matters to decoding."""
    return _apply(
        command,
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Seed of --temperature sampling.",
        ),
    )


def scene_options(*, split: str, objects: str | None, size: int | None) -> Callable[[Command], Command]:
    """--seed, --split, --level, --size, --objects: which scenes draw_scene draws. Defaults are given here; size None is
    that of the checkpoint's tiles."""
    from pdlm_cli.data_engine.levels import LEVELS
    from pdlm_cli.data_engine.limits import LARGEST_SIZE, SMALLEST_SIZE, SPLITS

    by_model = "" if size else "  [default: of the checkpoint's tiles]"
    by_level = "" if objects else "  [default: as the level has it]"
    options = (
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, other scenes."
        ),
        click.option(
            "--split",
            type=click.Choice(SPLITS),
            default=split,
            show_default=True,
            help="Scenes of different splits are different under any seed.",
        ),
        click.option(
            "--level",
            type=click.IntRange(0, len(LEVELS) - 1),
            default=len(LEVELS) - 1,
            show_default=True,
            help="From plain shapes to full scenes; `pdlm data scenes --help` describes them.",
        ),
        click.option(
            "--size",
            type=click.IntRange(SMALLEST_SIZE, LARGEST_SIZE),
            default=size,
            show_default=size is not None,
            help=f"Pixels along the shorter side.{by_model}",
        ),
        click.option(
            "--objects",
            metavar="MIN-MAX",
            default=objects,
            show_default=objects is not None,
            callback=_fewest_and_most,
            help=f"Objects in a picture, 1 to 10.{by_level}",
        ),
    )
    return lambda command: _apply(command, *options)


def logging_options(command: Command) -> Command:
    """--log-format."""
    return _apply(
        command,
        click.option(
            "--log-format",
            type=click.Choice(LOG_FORMATS),
            default="auto",
            show_default=True,
            help="Logs and progress on stderr; auto is rich on a terminal, plain lines elsewhere.",
        ),
    )


def default_workers() -> int:
    """One core stays with the thread that feeds the model."""
    return max(1, min(8, (os.cpu_count() or 1) - 1))


def check_shard(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """I/N to its two numbers."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value)
    if match is None or int(match[1]) >= int(match[2]):
        raise click.BadParameter(f"{value!r}; expected I/N with I from 0 to N - 1, like 0/4 to 3/4")
    return int(match[1]), int(match[2])


def _check_cache(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|none|exact|frozen|refresh=[1-9][0-9]*", value):
        raise click.BadParameter(f"{value!r}; expected auto, none, exact, frozen or refresh=K with K of 1 or more")
    return value


def _fewest_and_most(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", value)
    if match is None:
        raise click.BadParameter(f"{value!r}; expected a number or two, like 3 or 2-6")
    return int(match[1]), int(match[2] or match[1])


def _apply(command: Command, *options: Callable[[Command], Command]) -> Command:
    """Decorate in reverse, so that --help lists the options in the order given."""
    for option in reversed(options):
        command = option(command)
    return command
