"""`pdlm caption --propose`: regions for pictures that have none, made once and kept in the run directory."""

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from pdlm_cli import inputs
from pdlm_cli.errors import ConfigError
from pdlm_cli.proposing import Pictures, propose
from pdlm_cli.readers import parquet
from pdlm_cli.run_dir import RunDir

if TYPE_CHECKING:
    from pdlm_cli.caption_job import CaptionJob


def with_regions_proposed(job: "CaptionJob", model: str, log_format: str, console: Console) -> "CaptionJob":
    """Propose what the run directory does not hold yet, and give the job that captions it: from there on, the regions
    are an input like any other.

    Only pictures that no run of `since` has done are looked at, the first `limit` of them. Photos are turned as their
    EXIF says unless that is to be ignored: there is no mask yet that could tell. Raises PdlmError.
    """
    pictures = Pictures(
        input=job.input,
        since=job.since,
        since_by=job.since_by,
        limit=job.limit,
        exif="ignore" if job.exif == "ignore" else "apply",
        max_pixels=job.max_pixels,
        allow_outside=job.allow_outside,
    )
    device = "auto" if job.devices[0] == "all" else job.devices[0]
    with RunDir(job.output, overwrite=job.overwrite) as out:
        if out.earlier is not None and not out.regions_path.exists():
            raise ConfigError(f"{job.output} holds another run, one without --propose; choose another --output")
        propose(
            pictures,
            out.regions_path,
            model,
            device,
            inputs.GRID,
            overwrite=job.overwrite,
            log_format=log_format,
            console=console,
        )
        return replace(
            job,
            input=str(out.regions_path),
            format=parquet.NAME,
            images=job.images or job.input,
            exif=pictures.exif,
            since=(),
        )
