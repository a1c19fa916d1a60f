"""`pdlm data`."""

from pathlib import Path

import click

from pdlm_cli.cores import usable_cores
from pdlm_cli.data_engine.limits import FORMATS
from pdlm_cli.local_path import LocalPath, PictureFile
from pdlm_cli.options import json_option, logging_options
from pdlm_cli.scene_options import scene_options
from pdlm_cli.signals import StopSignals


@click.group(short_help="Make data to train and to test with.")
def data() -> None:
    """Make data to train and to test with.

    \b
    Examples:
      pdlm data scenes scenes/ --count 200
      pdlm data scenes --help
    """


@data.command(short_help="Draw pictures with masks, captions and questions.")
@click.argument("out", type=LocalPath(file_okay=False))
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, help="Pictures to draw.")
@scene_options(split="train", objects=None, size=128)
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    default=("json",),
    show_default=True,
    help="May be given several times: json is training JSON, parquet the same with the pictures inside, coco is COCO "
    "instances, paradlc the three files of ParaDLC-Bench.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=usable_cores,
    help="Processes that draw.  [default: one a core]",
)
@click.option(
    "--preview",
    type=PictureFile(),
    help="Also write a contact sheet of the first twelve scenes, .png or .jpg.",
)
@click.option("--overwrite", is_flag=True, help="Replace scenes of other settings that OUT holds.")
@json_option("a summary of the run")
@logging_options
@click.pass_context
def scenes(
    ctx: click.Context,
    /,
    out: Path,
    count: int,
    seed: int,
    split: str,
    level: int,
    size: int,
    objects: tuple[int, int] | None,
    formats: tuple[str, ...],
    workers: int,
    preview: Path | None,
    overwrite: bool,
    as_json: bool,
    log_format: str,
) -> None:
    """Draw pictures of objects whose every attribute is known, with instance masks, captions and questions, into OUT.

    The same settings give the same scenes, whatever the number of workers. SIGINT or SIGTERM finishes what is under
    way; the same command goes on where the run stopped.

    \b
    Levels:
      0  one shape in one color
      1  one to four shapes with patterns, turned
      2  one object with parts, each in one color
      3  one to four objects with patterns, turned, often two of a kind
      4  one to six objects with patterns and materials that hide one another, on textures
      5  full scenes: one to ten objects, wide and tall pictures, shadows, grain

    \b
    Examples:
      pdlm data scenes scenes/ --count 200
      pdlm data scenes look/ --count 12 --preview look.png
      pdlm data scenes held-out/ --count 300 --split test --objects 2-6 --format coco --format paradlc
      pdlm data scenes shapes/ --level 1 --count 500 --format parquet --workers 4
    """
    with StopSignals() as stop:
        from pdlm_cli.data_engine.generation import SceneJob, run
        from pdlm_cli.stdout import print_line

        job = SceneJob(
            out=out,
            count=count,
            seed=seed,
            split=split,
            level=level,
            size=size,
            objects=objects,
            formats=tuple(name for name in FORMATS if name in formats),
            workers=workers,
            preview=preview,
            overwrite=overwrite,
        )
        summary = run(job, log_format, stop)
    if as_json:
        print_line(summary.to_json())
    ctx.exit(summary.exit_code)
