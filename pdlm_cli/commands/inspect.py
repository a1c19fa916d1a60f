"""`pdlm inspect`."""

from pathlib import Path
from typing import Any

import click

from pdlm_cli.local_path import PictureFile
from pdlm_cli.options import json_option, limit_option, logging_options, source_options


@click.command(short_help="Say what an input holds and what is wrong with it.")
@source_options(click.argument("input", metavar="INPUT"))
@click.option("--pictures", is_flag=True, help="Also decode every picture, and hold the masks against them.")
@limit_option
@click.option(
    "--preview",
    type=PictureFile(),
    metavar="FILE",
    help="Draw the first pictures with their regions into this file, .png or .jpg.",
)
@json_option("what was found")
@logging_options
@click.pass_context
def inspect(
    ctx: click.Context,
    /,
    pictures: bool,
    limit: int | None,
    preview: Path | None,
    as_json: bool,
    log_format: str,
    **options: Any,
) -> None:
    """Say what INPUT holds: format, images, regions, sizes, categories, kinds of masks; and which regions could not
    be captioned, because their mask is broken, empty or of another size than the input states.

    Masks are decoded, pictures only with --pictures. The exit code is 3 if captioning would end with error rows.

    \b
    Examples:
      pdlm inspect masks.json
      pdlm inspect masks.json --images photos/ --pictures --preview look.png
      pdlm inspect masks.json --format coco-instances --json
    """
    from pdlm_cli import inspection, logs
    from pdlm_cli.drawings import write_picture
    from pdlm_cli.sources import open_with_sources
    from pdlm_cli.stdout import print_line

    console, form = logs.configure(log_format)
    manifest, sources = open_with_sources(**options)
    if limit is not None:
        manifest = manifest.limited(limit)
    found = inspection.inspect(manifest, sources, pictures=pictures)
    if preview is not None and manifest.images:
        write_picture(preview, inspection.preview(manifest, sources, 12))
        logs.log.info("wrote %s", preview)
    if as_json:
        print_line(found.to_json())
    elif form != "json":
        console.print(found.render())
    ctx.exit(found.exit_code)
