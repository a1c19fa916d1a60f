"""`pdlm caption`."""

import re
from pathlib import Path
from typing import Any

import click

from pdlm_cli.decode_options import decode_options, decode_settings, sampling_seed_option
from pdlm_cli.exports import EXPORTS
from pdlm_cli.number_range import NumberRange
from pdlm_cli.options import (
    compile_option,
    input_fields,
    input_options,
    json_option,
    limit_option,
    logging_options,
    model_options,
    output_option,
    shard_option,
    since_options,
    workers_option,
)
from pdlm_cli.signals import StopSignals


class AutoRange(click.ParamType):
    """A number of at least 1, or auto, which is None."""

    name = "auto|integer"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if value == "auto":
            return value
        return click.IntRange(min=1).convert(value, parameter, context)


def _check_devices(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(value.split(","))
    if names != ("all",) and not all(re.fullmatch(r"cpu|cuda(:\d+)?|\d+", name) for name in names):
        raise click.BadParameter(f"{value!r}; expected all, or names with commas between, such as 0,1 or cpu,cpu")
    return names


@click.command(short_help="Caption every masked region of a set of images.")
@input_options
@since_options("images that the run in RUN has done without errors")
@output_option("out", "Folder of the results: data/*.parquet, and the run's records in _pdlm/.")
@click.option(
    "--propose",
    metavar="PATH|HUB_ID",
    help="Make the regions of all pictures of --input, with SAM, SAM 2 or SAM 3: a folder, or a hub id such as "
    "facebook/sam2.1-hiera-large. See `pdlm propose --help`.",
)
@model_options
@compile_option
@decode_options
@sampling_seed_option
@click.option(
    "--devices",
    metavar="LIST",
    callback=_check_devices,
    help="Several devices, in place of --device, a worker process each: 0,1 or all for CUDA devices; cpu,cpu.",
)
@click.option(
    "--batch-size",
    type=AutoRange(),
    default="auto",
    show_default=True,
    help="Passes in one model call, halved when memory runs out; a pass holds the regions of one image, as many as "
    "the checkpoint takes. auto is 4 on CPU; on CUDA a few for each that fits, so that the next takes the place of one "
    "that is done. Where captions cannot leave before their pass is done it is 1 on CPU, on CUDA what fits.",
)
@click.option(
    "--pass-timeout",
    type=NumberRange(min=0, min_open=True),
    metavar="SECONDS",
    help="A pass that takes longer is given up, and its worker process with it.  "
    "[default: 20 times the slowest pass so far, at least 120; 3600 for the first]",
)
@click.option(
    "--min-area",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="PIXELS",
    help="Skip regions whose mask has fewer pixels: they get a row without a caption, which is no error.",
)
@click.option("--skip-crowd", is_flag=True, help="Skip regions that the input marks as a crowd, like COCO's iscrowd.")
@limit_option
@shard_option(
    "Only images of shard I of N, from 0/N, by a hash of their id; each shard needs an --output of its own. "
    "`pdlm merge` joins them."
)
@click.option(
    "--part-rows",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Close a part file after the image that reaches this many rows.",
)
@workers_option("load and prepare images")
@click.option(
    "--max-error-rate",
    type=NumberRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of error rows up to which the exit code is 0, not 3.",
)
@click.option("--overwrite", is_flag=True, help="Replace the run that --output holds, instead of going on with it.")
@click.option("--retry-errors", is_flag=True, help="Try the error rows of --output once more, and what is missing.")
@click.option(
    "--dry-run-model",
    is_flag=True,
    help="No network: captions only tell the size of their region. Measures and tests all the rest.",
)
@click.option(
    "--also",
    type=click.Choice(list(EXPORTS)),
    multiple=True,
    help="Write the finished table in this form too, into --output; see `pdlm export --help`. May be repeated.",
)
@click.option(
    "--report",
    "report_page",
    is_flag=True,
    help="Write report.html into --output too: a page to look through, as `pdlm report` does.",
)
@json_option("a summary of the run")
@logging_options
@click.pass_context
def caption(
    ctx: click.Context,
    /,
    since: tuple[Path, ...],
    since_by: Any,
    output: Path,
    propose: str | None,
    model: str | None,
    device: str,
    devices: tuple[str, ...] | None,
    dtype: str,
    quantize: str | None,
    compiled: bool,
    seed: int,
    batch_size: int | str,
    pass_timeout: float | None,
    min_area: int,
    skip_crowd: bool,
    limit: int | None,
    shard: tuple[int, int] | None,
    part_rows: int,
    workers: int,
    max_error_rate: float,
    overwrite: bool,
    retry_errors: bool,
    dry_run_model: bool,
    also: tuple[str, ...],
    report_page: bool,
    as_json: bool,
    log_format: str,
    **others: Any,
) -> None:
    """Caption every masked region of a set of images: one row a region in Parquet.

    A missing image or a mask that cannot be used becomes an error row with a code; the rest goes on. SIGINT
    or SIGTERM finishes the pass under way and commits what is there; however a run was stopped, the same command
    goes on with it.

    \b
    Examples:
      pdlm caption --input masks.json
      pdlm caption --input masks.json --images photos/ --output out/
      pdlm caption --input masks.json --limit 2 --steps 8 --json --report
      pdlm caption --input masks.json --min-area 100 --skip-crowd
      pdlm caption --input masks.json --since monday/ --output tuesday/
      pdlm caption --input masks.json --overwrite --batch-size 4 --sampler threshold
      pdlm caption --input masks.json --batch-size 4 --sampler threshold --retry-errors
      pdlm caption --input photos/ --propose sam2/ --output out/
      pdlm caption --input masks.json --shard 0/4 --output shards/0
    """
    if devices is not None and device != "auto":
        raise click.UsageError("--devices names all devices: leave --device out")
    of_model = (model, devices, quantize, compiled, device, dtype) != (None, None, None, False, "auto", "auto")
    if dry_run_model and of_model:
        raise click.UsageError(
            "--dry-run-model has no network: leave --model, --device, --devices, --dtype, --quantize and --compile out"
        )
    if propose is not None and (others["format"] != "auto" or others["masks"] is not None):
        raise click.UsageError("--propose makes the masks itself: leave --format and --masks out")
    if propose is not None and shard is not None:
        raise click.UsageError("shards are of one input: `pdlm propose` makes it, then leave --propose out")
    if overwrite and retry_errors:
        raise click.UsageError("--overwrite replaces the rows that --retry-errors would try again: give one of them")
    if output.resolve() in {run.resolve() for run in since}:
        raise click.UsageError(f"--output {output} is a run of --since: its rows would go; choose another --output")
    # The handlers stand before the slow imports: a container that is told to stop must not wait for torch.
    with StopSignals() as stop:
        from pdlm_cli.caption_job import CaptionJob, run
        from pdlm_cli.stdout import print_line

        job = CaptionJob(
            **input_fields(others),
            since=since,
            since_by=since_by,
            output=output,
            model=model,
            devices=devices or (device,),
            dtype=dtype,
            quantize=quantize,
            compiled=compiled,
            decode=decode_settings(others),
            seed=seed,
            batch_size=None if isinstance(batch_size, str) else batch_size,
            pass_timeout=pass_timeout,
            min_area=min_area,
            skip_crowd=skip_crowd,
            limit=limit,
            shard=shard,
            part_rows=part_rows,
            workers=workers,
            max_error_rate=max_error_rate,
            overwrite=overwrite,
            retry_errors=retry_errors,
            dry_run_model=dry_run_model,
            also=also,
            report=report_page,
            propose=propose,
        )
        report = run(job, log_format, stop)
    if as_json:
        print_line(report.to_json())
    ctx.exit(report.exit_code)
