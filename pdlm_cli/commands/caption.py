"""`pdlm caption`."""

from pathlib import Path
from typing import Any

import click

from pdlm_cli.options import (
    decode_options,
    default_workers,
    logging_options,
    model_options,
    sampling_seed_option,
)
from pdlm_cli.signals import StopSignals


@click.command(short_help="Caption every masked region of a set of images.")
@click.option(
    "--input",
    "input_file",
    type=click.Path(path_type=Path),
    required=True,
    help="Annotation file: COCO instances (polygons, compressed or uncompressed run lengths).",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that the file names are relative to.  [default: the folder of --input]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder of the results: data/*.parquet, and the run's records in _pdlm/.",
)
@model_options
@decode_options
@sampling_seed_option
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Passes in one model call; a pass holds the regions of one image, as many as the checkpoint takes.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="IMAGES", help="Only the first images of the input.")
@click.option(
    "--part-rows",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Close a part file after the image that reaches this many rows.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=default_workers,
    help="Threads that load and prepare images.  [default: one less than the cores, at most 8]",
)
@click.option(
    "--max-error-rate",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of error rows up to which the exit code is 0, not 3.",
)
@click.option("--allow-outside", is_flag=True, help="Follow file names that lead out of --images.")
@click.option("--overwrite", is_flag=True, help="Replace the run that --output holds.")
@click.option(
    "--report",
    "report_page",
    is_flag=True,
    help="Write report.html into --output too: a page to look through, as `pdlm report` does.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary of the run as JSON on stdout.")
@logging_options
@click.pass_context
def caption(
    ctx: click.Context,
    /,
    input_file: Path,
    images: Path | None,
    output: Path,
    model: str | None,
    device: str,
    dtype: str,
    seed: int,
    batch_size: int,
    limit: int | None,
    part_rows: int,
    workers: int,
    max_error_rate: float,
    allow_outside: bool,
    overwrite: bool,
    report_page: bool,
    as_json: bool,
    log_format: str,
    **decode: Any,
) -> None:
    """Caption every masked region of a set of images: one row a region in Parquet.

    A missing image or a mask that cannot be used becomes an error row with a code; the rest goes on. SIGINT
    or SIGTERM finishes the pass under way and commits what is there.

    \b
    Examples:
      pdlm caption --input masks.json
      pdlm caption --input masks.json --images photos/ --output out/
      pdlm caption --input masks.json --limit 2 --steps 8 --json --report
      pdlm caption --input masks.json --overwrite --batch-size 4 --sampler threshold
    """
    # The handlers stand before the slow imports: a container that is told to stop must not wait for torch.
    with StopSignals() as stop:
        from pdlm_cli.caption_job import CaptionJob, run
        from pdlm_cli.stdout import print_line

        job = CaptionJob(
            input=input_file,
            images=images if images is not None else input_file.parent,
            output=output,
            model=model,
            device=device,
            dtype=dtype,
            decode=decode,
            seed=seed,
            batch_size=batch_size,
            limit=limit,
            part_rows=part_rows,
            workers=workers,
            max_error_rate=max_error_rate,
            allow_outside=allow_outside,
            overwrite=overwrite,
            report=report_page,
        )
        report = run(job, log_format, stop)
    if as_json:
        print_line(report.to_json())
    ctx.exit(report.exit_code)
