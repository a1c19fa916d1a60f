"""Where a run notes what it is, and how a folder is known to be one."""

from pathlib import Path

RECORDS = "_pdlm"  # folder of what a run, or `pdlm propose`, notes about itself


def facts_path(run: Path) -> Path:
    """run.json of a run of `pdlm caption`: what was run. See run_facts."""
    return run / RECORDS / "run.json"


def is_run(folder: Path) -> bool:
    """Whether `pdlm caption` wrote this folder."""
    return facts_path(folder).is_file()
