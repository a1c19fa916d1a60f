"""`pdlm train`."""

import os
from pathlib import Path

import click

from pdlm_cli.local_path import LocalPath
from pdlm_cli.options import logging_options
from pdlm_cli.signals import StopSignals


@click.command(short_help="Train a model, as a job file says.")
@click.argument("job", type=LocalPath(dir_okay=False), metavar="JOB.yaml")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--dry-run", is_flag=True, help="Print job, parameters, steps, memory and the first batch; train nothing."
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of the job's output folder, if any.")
@click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Optimizer steps, in place of the job's.")
@logging_options
@click.pass_context
def train(
    ctx: click.Context,
    /,
    job: Path,
    changes: tuple[str, ...],
    dry_run: bool,
    resume: bool,
    max_steps: int | None,
    log_format: str,
) -> None:
    """Train a model, as JOB.yaml says; KEY=VALUE changes fields of it, nested ones with dots.

    Several processes: torchrun --nproc-per-node 8 -m pdlm_cli train JOB.yaml. SIGTERM or SIGINT finishes the step
    under way, writes a checkpoint and exits with 143 or 130; --resume goes on as if nothing had happened.

    \b
    Examples:
      pdlm train jobs/train/tiny.yaml --dry-run
      pdlm train jobs/train/tiny.yaml --max-steps 50
      pdlm train jobs/train/tiny.yaml optimizer.lr=5e-4 output=out/train/slow
      pdlm train jobs/train/tiny.yaml --resume
    """
    # The handlers stand before the slow imports: a container that is told to stop must not wait for torch.
    # torchrun passes them on, and often each process gets its own as well: from a terminal, or from Slurm.
    with StopSignals(echo_s=10) as stop:
        from pdlm_cli import logs
        from pdlm_cli.training.job import load_job

        logs.configure(log_format)
        if max_steps is not None:
            changes = (*changes, "epochs=null", f"max_steps={max_steps}")
        settings = load_job(job, changes)
        if dry_run:
            if os.environ.get("RANK", "0") != "0":  # of processes that torchrun started, one tells for all
                return
            from pdlm_cli.stdout import print_line
            from pdlm_cli.training.dry_run import describe

            print_line(describe(settings))
            return
        from pdlm_cli.training.run import run

        ctx.exit(run(settings, resume=resume, log_format=log_format, stop=stop))
