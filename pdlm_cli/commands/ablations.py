"""`pdlm ablations`."""

from pathlib import Path

import click

from pdlm_cli.local_path import LocalPath
from pdlm_cli.options import logging_options
from pdlm_cli.signals import StopSignals


@click.command(short_help="Repeat the paper's ablations in miniature.")
@click.argument("jobs", type=LocalPath(exists=True, file_okay=False), metavar="JOBS")
@click.option(
    "--output",
    type=LocalPath(file_okay=False),
    default=Path("out/ablations"),
    show_default=True,
    help="Folder of trainings and results.",
)
@click.option(
    "--docs",
    type=LocalPath(file_okay=False),
    help="Folder that gets ablations.md with its plots.  [default: that of --output]",
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Repeat N times.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this variant; may be given several times.")
@click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Steps of every training, to try it out.")
@click.option(
    "--pictures", type=click.IntRange(min=2), default=300, show_default=True, metavar="N", help="Held-out pictures."
)
@click.option("--render", is_flag=True, help="Run nothing; write tables and plots from the results that are there.")
@logging_options
@click.pass_context
def ablations(
    ctx: click.Context,
    /,
    jobs: Path,
    output: Path,
    docs: Path | None,
    seeds: int,
    only: tuple[str, ...],
    max_steps: int | None,
    pictures: int,
    render: bool,
    log_format: str,
) -> None:
    """Train and judge every variant of JOBS, a folder of job files, and write a table and plots about them.

    What is finished is not run again; a run that was stopped, by a signal or otherwise, goes on with the same command.
    First comes the image-level model that all variants start from, then one variant after the other.

    \b
    Examples:
      pdlm ablations jobs/train/ablations
      pdlm ablations jobs/train/ablations --seeds 3
      pdlm ablations jobs/train/ablations --only no-roi --only no-prompts
      pdlm ablations jobs/train/ablations --max-steps 3 --pictures 4 --output /tmp/try
    """
    with StopSignals() as stop:
        from pdlm_cli.ablations.runner import AblationJob, run

        job = AblationJob(
            jobs=jobs,
            output=output,
            docs=docs,
            seeds=seeds,
            only=only,
            max_steps=max_steps,
            pictures=pictures,
            render_only=render,
        )
        ctx.exit(run(job, log_format, stop))
