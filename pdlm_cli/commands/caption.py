"""`pdlm caption`."""

from pathlib import Path
from typing import Any

import click

from pdlm_cli.options import (
    decode_options,
    default_workers,
    input_fields,
    input_options,
    logging_options,
    model_options,
    sampling_seed_option,
)
from pdlm_cli.signals import StopSignals


@click.command(short_help="Caption every masked region of a set of images.")
@input_options
@click.option(
    "--since",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    metavar="OUT",
    help="Leave out images that the run in OUT has done without errors; may be given several times.",
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
@click.option("--overwrite", is_flag=True, help="Replace the run that --output holds.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary of the run as JSON on stdout.")
@logging_options
@click.pass_context
def caption(
    ctx: click.Context,
    /,
    since: tuple[Path, ...],
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
    overwrite: bool,
    as_json: bool,
    log_format: str,
    **others: Any,
) -> None:
    """Caption every masked region of a set of images: one row a region in Parquet.

    A missing image or a mask that cannot be used becomes an error row with a code; the rest goes on. SIGINT
    or SIGTERM finishes the pass under way and commits what is there.

    \b
    Examples:
      pdlm caption --input masks.json
      pdlm caption --input masks.json --images photos/ --output out/
      pdlm caption --input masks.json --limit 2 --steps 8 --json
      pdlm caption --input masks.json --overwrite --batch-size 4 --sampler threshold
    """
    # The handlers stand before the slow imports: a container that is told to stop must not wait for torch.
    with StopSignals() as stop:
        from pdlm_cli.caption_job import CaptionJob, run
        from pdlm_cli.stdout import print_line

        job = CaptionJob(
            **input_fields(others),
            since=since,
            output=output,
            model=model,
            device=device,
            dtype=dtype,
            decode=others,
            seed=seed,
            batch_size=batch_size,
            limit=limit,
            part_rows=part_rows,
            workers=workers,
            max_error_rate=max_error_rate,
            overwrite=overwrite,
        )
        report = run(job, log_format, stop)
    if as_json:
        print_line(report.to_json())
    ctx.exit(report.exit_code)
