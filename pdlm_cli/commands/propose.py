"""`pdlm propose`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pdlm_cli import inputs
from pdlm_cli.local_path import LocalPath
from pdlm_cli.number_range import NumberRange
from pdlm_cli.options import (
    Command,
    device_option,
    json_option,
    limit_option,
    logging_options,
    max_pixels_option,
    shard_option,
    since_options,
)


def _share(name: str, text: str) -> Callable[[Command], Command]:
    """Option of a field of the grid between 0 and 1."""
    return click.option(f"--{name}", type=NumberRange(0, 1), default=inputs.GRID[name], show_default=True, help=text)


@click.command(short_help="Make regions for pictures that have none.")
@click.argument("pictures", metavar="PICTURES")
@click.argument("out", type=LocalPath(file_okay=False), metavar="OUT")
@click.option(
    "--model",
    metavar="PATH|HUB_ID",
    required=True,
    help="SAM, SAM 2 or SAM 3 as transformers has them: a folder, or a hub id such as facebook/sam2.1-hiera-large.",
)
@device_option
@click.option(
    "--points",
    type=click.IntRange(1, 128),
    default=inputs.GRID["points"],
    show_default=True,
    help="The model is asked what lies at so many points along each side of a picture.",
)
@_share("score", "Least overlap with what it means that the model promises for a mask.")
@_share("stability", "Least share of a mask that is left when its outline is drawn more strictly.")
@_share("overlap", "Of masks whose boxes overlap more, the surest stays.")
@_share("area", "Least share of the picture that a region has.")
@click.option(
    "--exif",
    type=click.Choice(inputs.EXIF[1:]),
    default="apply",
    show_default=True,
    help="Turn pictures as their EXIF says. Caption with the same.",
)
@max_pixels_option
@since_options("pictures that the run of `pdlm caption` in RUN has captioned")
@limit_option
@shard_option("Only pictures of shard I of N, from 0/N, into an OUT of its own; a folder of all of them is one input.")
@click.option("--allow-outside", is_flag=True, help="Follow links that lead out of PICTURES.")
@click.option("--overwrite", is_flag=True, help="Replace the regions in OUT, instead of going on with them.")
@json_option("a summary")
@logging_options
@click.pass_context
def propose(
    ctx: click.Context,
    /,
    pictures: str,
    out: Path,
    model: str,
    device: str,
    overwrite: bool,
    as_json: bool,
    log_format: str,
    **others: Any,
) -> None:
    """Find regions in PICTURES, a folder, zip, tar or address of pictures without masks, and write them to OUT, an
    input for `pdlm caption`. `pdlm caption --propose` does both at once.

    What was stopped goes on with the same command. A picture that cannot be read is noted, and the exit code is 3.

    \b
    Examples:
      pdlm propose photos/ regions/ --model sam2/
      pdlm caption --input regions/ --images photos/ --exif apply
    """
    from pdlm_cli import logs, proposing
    from pdlm_cli.stdout import print_line

    console, form = logs.configure(log_format)
    grid = {name: others.pop(name) for name in inputs.GRID}
    chosen = proposing.Pictures(input=pictures, **others)
    proposed = proposing.propose(
        chosen, out, model, device, grid, overwrite=overwrite, log_format=form, console=console
    )
    if as_json:
        print_line(proposed.to_json())
    ctx.exit(proposed.exit_code)
