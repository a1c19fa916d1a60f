"""The input of a run: its images, less what earlier runs have done, and where their pictures are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdlm_cli import inputs
from pdlm_cli.errors import InputError
from pdlm_cli.logs import log
from pdlm_cli.manifest import Manifest
from pdlm_cli.moved import Moved
from pdlm_cli.since import not_done
from pdlm_cli.sources import Sources, open_with_sources


def open_run_input(job: Mapping[str, Any]) -> tuple[Manifest, Sources]:
    """job: the fields of a CaptionJob, or what run.json has of one. Not yet limited and sharded: see
    `run_facts.planned`. Raises InputError, ConfigError."""
    manifest, sources = open_with_sources(**{name: job[name] for name in inputs.FIELDS})
    if job["since"]:
        before = manifest.images
        manifest = not_done(
            manifest,
            sources,
            [Path(run) for run in job["since"]],
            # Runs with version 2 of the table told images by content, and skipped nothing.
            job.get("since_by", "content"),
            min_area=job.get("min_area", 0),
            skip_crowd=job.get("skip_crowd", False),
        )
        log.info("%d of %d images are done already", before - manifest.images, before)
    return manifest, sources


def open_again(run: Path, job: Mapping[str, Any], moved: Moved) -> tuple[Manifest, Sources]:
    """The input of the run in a directory, once more. job: of its run.json. Raises InputError, ConfigError."""
    try:
        return open_run_input(moved.applied_to(job))
    except InputError as error:
        raise InputError(
            f"{error}. The input of {run} is read again: --input, --images and --masks say where it lies now"
        ) from error
