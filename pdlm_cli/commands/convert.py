"""`pdlm convert`."""

from pathlib import Path

import click

from pdlm_cli.options import DTYPES, logging_options


@click.group(short_help="Make or convert checkpoints.")
def convert() -> None:
    """Make or convert checkpoints, in this project's own layout.

    \b
    Examples:
      pdlm convert random --size tiny tiny-checkpoint/
      pdlm convert llada --help
    """


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
