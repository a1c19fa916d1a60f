"""`pdlm convert`."""

from pathlib import Path
from typing import Any

import click

from pdlm_cli.conversions import TARGETS, Target
from pdlm_cli.local_path import LocalPath
from pdlm_cli.options import DTYPES, SIZES, json_option, logging_options, source_options

embed_option = click.option(
    "--embed/--no-embed",
    default=None,
    help="Put the pictures' files into the manifest, a row an image; otherwise a row a region, with file names.  "
    "[default: only if INPUT holds its pictures itself]",
)


@click.group(short_help="Convert inputs, make or convert checkpoints.")
def convert() -> None:
    """Convert inputs of any format to any other; make or convert checkpoints, in this project's own layout.

    \b
    Examples:
      pdlm convert manifest masks.json manifest.parquet
      pdlm convert sa1b masks.json regions/
      pdlm convert random --size tiny tiny-checkpoint/
      pdlm convert llada --help
    """


def _conversion(name: str, target: Target) -> click.Command:
    """The command that writes an input as another format."""

    @source_options(click.argument("input", metavar="INPUT"))
    @click.argument(
        "out",
        type=LocalPath(dir_okay=target.is_folder, file_okay=not target.is_folder),
        metavar=target.out,
    )
    @click.option("--overwrite", is_flag=True, help="Replace OUT.")
    @json_option("a summary")
    @logging_options
    @click.pass_context
    def command(
        ctx: click.Context, /, out: Path, overwrite: bool, as_json: bool, log_format: str, **options: Any
    ) -> None:
        from pdlm_cli import input_conversion, logs
        from pdlm_cli.sources import open_with_sources
        from pdlm_cli.stdout import print_line

        logs.configure(log_format)
        own = {"embed": options.pop("embed")} if name == "manifest" else {}
        input_conversion.check_output(name, out, overwrite=overwrite)
        found, sources = open_with_sources(**options)
        converted = input_conversion.convert(name, found, sources, out, **own)
        if as_json:
            print_line(converted.to_json())
        ctx.exit(converted.exit_code)

    if name == "manifest":
        command = embed_option(command)
    examples = "".join(f"\n  pdlm convert {name} {example}" for example in target.examples)
    text = f"Write INPUT as {target.title}. {target.text}\n\n\b\nExamples:{examples}"
    return click.command(name, short_help=f"An input of any format as {target.title}.", help=text)(command)


for _name, _target in TARGETS.items():
    convert.add_command(_conversion(_name, _target))


@convert.command(short_help="A fresh base model from LLaDA and SigLIP-2.")
@click.option("--llada", required=True, metavar="PATH|HUB_ID", help="LLaDA weights and tokenizer.")
@click.option("--siglip", required=True, metavar="PATH|HUB_ID", help="SigLIP-2 weights.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the new connector.")
@click.argument("out", type=LocalPath())
@logging_options
def llada(llada: str, siglip: str, seed: int, out: Path, log_format: str) -> None:
    """Join LLaDA-8B-Instruct and a SigLIP-2 vision tower into an image-level base model, written to OUT.

    The connector between the two is new and random: the result is where training starts.

    \b
    Examples:
      pdlm convert llada --llada GSAI-ML/LLaDA-8B-Instruct \\
          --siglip google/siglip2-so400m-patch16-512 base/
    """
    from pdlm_cli import logs
    from pdlm_cli.conversion import convert_llada

    logs.configure(log_format)
    convert_llada(llada, siglip, seed, out)
    logs.log.info("wrote %s", out)


@convert.command(short_help="The mean of several checkpoints of one training.")
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT CHECKPOINT...")
@click.argument("out", type=LocalPath())
@logging_options
def average(checkpoints: tuple[str, ...], out: Path, log_format: str) -> None:
    """Write the mean of the weights of CHECKPOINTs, folders or hub ids, to OUT.

    Where a training went on from its own end, the learning rate rising again, the mean of what each run ended with is
    often better than the last of them.

    \b
    Examples:
      pdlm convert average out/train/tiny-longer/model \\
          out/train/tiny-longest/model averaged/
    """
    from pdlm_cli import logs
    from pdlm_cli.conversion import average_weights

    logs.configure(log_format)
    average_weights(checkpoints, out)
    logs.log.info("wrote %s", out)


@convert.command(short_help="A region model of random weights.")
@click.option(
    "--size",
    type=click.Choice(SIZES),
    default="tiny",
    show_default=True,
    help="Parameters of decoder and vision tower, about; LLaDA's vocabulary comes on top, but for tiny.",
)
@click.option(
    "--semantics",
    type=click.Choice(["isolated", "released"]),
    default="isolated",
    show_default=True,
    help="Attention, positions, RoI features, footprints and step budget: this project's, or those of the "
    "published weights.",
)
@click.option("--dtype", type=click.Choice(DTYPES[1:]), default="fp32", show_default=True, help="Of the weights.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the weights.")
@click.argument("out", type=LocalPath())
@logging_options
def random(size: str, semantics: str, dtype: str, seed: int, out: Path, log_format: str) -> None:
    """Write a region checkpoint of random weights to OUT: its captions mean nothing, its speed does.

    \b
    Examples:
      pdlm convert random --size tiny tiny-checkpoint/
      pdlm convert random --semantics released --seed 1 leaky-checkpoint/
    """
    from pdlm_cli import logs
    from pdlm_cli.conversion import make_random

    logs.configure(log_format)
    make_random(size, semantics, dtype, seed, out)
    logs.log.info("wrote %s", out)
