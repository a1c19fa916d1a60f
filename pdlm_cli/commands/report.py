"""`pdlm report`."""

from pathlib import Path

import click

from pdlm_cli.local_path import LocalPath, NamedFile
from pdlm_cli.options import default_workers, logging_options, moved_options


@click.command(short_help="Write a run as one page to look through: pictures, captions, errors, times.")
@click.argument("run", type=LocalPath(exists=True, file_okay=False))
@click.option(
    "--output",
    type=NamedFile(".html"),
    help="Page to write, .html.  [default: RUN/report.html]",
)
@click.option(
    "--max-images",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Pictures on the page, the first of the input; a photo adds about 30 kB.",
)
@moved_options
@logging_options
def report(
    run: Path,
    output: Path | None,
    max_images: int,
    input_file: str | None,
    images: str | None,
    mask_pictures: str | None,
    log_format: str,
) -> None:
    """Write the folder RUN of `pdlm caption`, finished or not, as one HTML page.

    Pictures with their regions and captions, filters, errors with what to do about them, times, and what was run.
    The page needs no network and no other file. Pictures and masks are read again from where the run found them;
    where they are gone, boxes are drawn on gray.

    \b
    Examples:
      pdlm report out/
      pdlm report out/ --max-images 50 --output look.html
    """
    from pdlm_cli import logs
    from pdlm_cli.moved import Moved
    from pdlm_cli.report_page.page import write_report

    logs.configure(log_format)
    written = write_report(
        run,
        output=output,
        moved=Moved(input_file, images, mask_pictures),
        max_images=max_images,
        workers=default_workers(),
    )
    logs.log.info("%s", written)
