"""`pdlm convert`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pdlm_cli.options import DTYPES, json_option, logging_options, source_options

if TYPE_CHECKING:
    from pdlm_cli.input_conversion import Converted


@click.group(short_help="Convert inputs, make or convert checkpoints.")
def convert() -> None:
    """Convert inputs to a Parquet manifest or to COCO; make or convert checkpoints, in this project's own layout.

    \b
    Examples:
      pdlm convert manifest masks.json manifest.parquet
      pdlm convert random --size tiny tiny-checkpoint/
      pdlm convert llada --help
    """


@convert.command(short_help="An input of any format as a Parquet manifest.")
@source_options(click.argument("input", metavar="INPUT"))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.parquet")
@click.option(
    "--embed/--no-embed",
    default=None,
    help="Put the pictures' files into the manifest, a row an image; otherwise a row a region, with file names.  "
    "[default: only if INPUT holds its pictures itself]",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@json_option("a summary")
@logging_options
@click.pass_context
def manifest(
    ctx: click.Context,
    /,
    out: Path,
    embed: bool | None,
    overwrite: bool,
    as_json: bool,
    log_format: str,
    **options: Any,
) -> None:
    """Write INPUT as a Parquet manifest, which is read much faster than JSON and takes less room.

    A region whose mask cannot be used keeps its row, and the exit code is 3.

    \b
    Examples:
      pdlm convert manifest masks.json manifest.parquet
      pdlm convert manifest masks.json --images photos/ --embed whole.parquet
    """
    from pdlm_cli import logs
    from pdlm_cli.input_conversion import write_manifest
    from pdlm_cli.sources import open_with_sources

    logs.configure(log_format)
    _refuse_existing(out, overwrite)
    found, sources = open_with_sources(**options)
    converted = write_manifest(found, sources, out, embed=found.holds_pictures if embed is None else embed)
    _finish(ctx, converted, out, as_json)


@convert.command(short_help="An input of any format as COCO instances.")
@source_options(click.argument("input", metavar="INPUT"))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.json")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@json_option("a summary")
@logging_options
@click.pass_context
def coco(ctx: click.Context, /, out: Path, overwrite: bool, as_json: bool, log_format: str, **options: Any) -> None:
    """Write INPUT as COCO instances: polygons and run lengths as they are, all other masks as run lengths.

    A region whose mask cannot be used keeps its annotation, and the exit code is 3.

    \b
    Examples:
      pdlm convert coco masks.json copy.json
      pdlm convert coco masks.json --images photos/ --json copy.json
    """
    from pdlm_cli import logs
    from pdlm_cli.input_conversion import write_coco
    from pdlm_cli.sources import open_with_sources

    logs.configure(log_format)
    _refuse_existing(out, overwrite)
    found, sources = open_with_sources(**options)
    if found.holds_pictures:
        logs.log.warning("the input holds its pictures itself; COCO can only name them")
    _finish(ctx, write_coco(found, sources, out), out, as_json)


@convert.command(short_help="A fresh base model from LLaDA and SigLIP-2.")
@click.option("--llada", required=True, metavar="PATH|HUB_ID", help="LLaDA weights and tokenizer.")
@click.option("--siglip", required=True, metavar="PATH|HUB_ID", help="SigLIP-2 weights.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the new connector.")
@click.argument("out", type=click.Path(path_type=Path))
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


@convert.command(short_help="A region model of random weights.")
@click.option("--size", default="tiny", show_default=True, help="tiny, 100m, 1b or 8b.")
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
@click.argument("out", type=click.Path(path_type=Path))
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


def _refuse_existing(out: Path, overwrite: bool) -> None:
    from pdlm_cli.errors import ConfigError

    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; pass --overwrite to replace it, or choose another name")


def _finish(ctx: click.Context, converted: "Converted", out: Path, as_json: bool) -> None:
    from pdlm_cli.logs import log
    from pdlm_cli.stdout import print_line

    log.info("wrote %s: %d regions of %d images", out, converted.regions, converted.images)
    if as_json:
        print_line(converted.to_json())
    ctx.exit(converted.exit_code)
