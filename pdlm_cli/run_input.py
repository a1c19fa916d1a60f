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
    """job: the fields of a CaptionJob. Not yet limited and sharded: see `run_facts.planned`. Raises InputError,
    ConfigError."""
    manifest, sources = _opened(job)
    if job["since"]:
        before = manifest.images
        manifest = not_done(
            manifest,
            sources,
            [Path(run) for run in job["since"]],
            job["since_by"],
            min_area=job["min_area"],
            skip_crowd=job["skip_crowd"],
        )
        log.info("%d of %d images are done already", before - manifest.images, before)
    return manifest, sources


def open_again(run: Path, job: Mapping[str, Any], moved: Moved) -> tuple[Manifest, Sources]:
    """The input of the run in a directory, once more, with all its images. job: of its run.json. Raises InputError,
    ConfigError."""
    try:
        return _opened(moved.applied_to(job))
    except InputError as error:
        raise InputError(
            f"{error}. The input of {run} is read again: --input, --images and --masks say where it lies now"
        ) from error


def _opened(job: Mapping[str, Any]) -> tuple[Manifest, Sources]:
    return open_with_sources(**{name: job[name] for name in inputs.FIELDS})
