"""`pdlm export`."""

from pathlib import Path

import click

from pdlm_cli.exports import EXPORTS
from pdlm_cli.local_path import LocalPath
from pdlm_cli.options import logging_options, moved_options


@click.command(short_help="Write the captions of a finished run in another form.")
@click.argument("run", type=LocalPath(file_okay=False), metavar="RUN")
@click.option("--to", "form", type=click.Choice(list(EXPORTS)), required=True, help="The form; see above.")
@click.argument("file", type=LocalPath(dir_okay=False), metavar="FILE")
@moved_options
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
@logging_options
def export(
    run: Path,
    form: str,
    file: Path,
    input_file: str | None,
    images: str | None,
    mask_pictures: str | None,
    overwrite: bool,
    log_format: str,
) -> None:
    """Write what `pdlm caption` or `pdlm merge` wrote into the folder RUN to one FILE. Masks are not in the table:
    coco and webdataset take them from the input of the run.

    \b
    Forms:
      coco        the input as COCO instances, with a caption an annotation
      jsonl       a row a line, with all columns
      paradlc     predictions in the form of DLC-Bench and ParaDLC-Bench
      csv         all columns, for spreadsheets; no cell is a formula
      webdataset  a tar of pictures, masks and captions

    \b
    Examples:
      pdlm export out/ --to coco captions.json
      pdlm export out/ --to webdataset captions.tar --images photos/
    """
    from pdlm_cli import exporting, logs
    from pdlm_cli.errors import ConfigError
    from pdlm_cli.moved import Moved

    logs.configure(log_format)
    ending = Path(EXPORTS[form]).suffix
    if file.suffix != ending:
        raise ConfigError(f"{file} would be {form}; expected a name that ends in {ending}")
    if file.exists() and not overwrite:
        raise ConfigError(f"{file} exists; pass --overwrite to replace it, or choose another name")
    exporting.export(run, form, file, Moved(input_file, images, mask_pictures))
