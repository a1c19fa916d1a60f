"""`pdlm merge`."""

from pathlib import Path

import click

from pdlm_cli.local_path import LocalPath
from pdlm_cli.options import json_option, logging_options, moved_options, output_option


@click.command(short_help="Join the shards of a run.")
@click.argument("shards", nargs=-1, required=True, type=LocalPath(file_okay=False), metavar="SHARD...")
@output_option("out", "Folder of the result.")
@moved_options
@click.option("--verify", is_flag=True, help="Read the result again and compare it with the shards, row by row.")
@click.option("--overwrite", is_flag=True, help="Replace the run that --output holds.")
@json_option("a summary of the merged run")
@logging_options
@click.pass_context
def merge(
    ctx: click.Context,
    /,
    shards: tuple[Path, ...],
    output: Path,
    input_file: str | None,
    images: str | None,
    mask_pictures: str | None,
    verify: bool,
    overwrite: bool,
    as_json: bool,
    log_format: str,
) -> None:
    """Join what `pdlm caption --shard` wrote into one folder each to one run, in the order of the input.

    All shards of one run must be given, each finished and once: same input, settings and model, hashes as they were
    written. The input is read again, which gives the order; its pictures are not. The exit code is that of the rows, as
    for `pdlm caption`.

    \b
    Examples:
      pdlm merge shards/0 shards/1 shards/2 shards/3 --output out/ --verify
      pdlm merge shards/0 shards/1 shards/2 shards/3 --input photos/masks.json --images photos/
    """
    from pdlm_cli import merging
    from pdlm_cli.moved import Moved
    from pdlm_cli.stdout import print_line

    moved = Moved(input_file, images, mask_pictures)
    report = merging.run(shards, output, moved, overwrite=overwrite, verify=verify, log_format=log_format)
    if as_json:
        print_line(report.to_json())
    ctx.exit(report.exit_code)
