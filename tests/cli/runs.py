"""Commands in this process; runs of the pipeline alone, with any engine; and the rows that they leave."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from click.testing import CliRunner, Result
from rich.console import Console

from pdlm_cli import logs
from pdlm_cli.caption_job import caption_manifest, open_job_input
from pdlm_cli.main import main
from pdlm_cli.progress import open_progress
from pdlm_cli.report import Report
from pdlm_cli.run_dir import RunDir
from pdlm_cli.signals import StopSignals
from tests.cli.support import CHECKPOINT, Dataset

FAST = ["--model", str(CHECKPOINT), "--device", "cpu", "--steps", "2", "--length", "4"]
TIMES = {"load_ms", "preprocess_ms", "encode_ms", "decode_ms", "pass_ms", "pass_share_ms", "finished_at"}


def pdlm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def caption(*arguments: Any) -> Result:
    return pdlm("caption", *arguments)


def run(dataset: Dataset, out: Path, engine: Any, stop: StopSignals | None = None, **changes: Any) -> Report:
    logs.configure("plain")
    job = dataset.job(out, **changes)
    manifest, sources = open_job_input(job)
    with (
        RunDir(out, overwrite=job.overwrite) as directory,
        open_progress(manifest.regions, "plain", Console(stderr=True), doing="captioning", unit="regions") as progress,
    ):
        return caption_manifest(manifest, sources, engine, directory, job, progress, stop or StopSignals())


def rows_of(out: Path, *, times: bool = True) -> list[dict[str, Any]]:
    rows = pq.read_table(out / "data").to_pylist()
    return rows if times else [{name: row[name] for name in row.keys() - TIMES} for row in rows]


def many(dataset: Dataset, regions: list[int]) -> None:
    for count in regions:
        image = dataset.image()
        for _ in range(count):
            dataset.region(image)
