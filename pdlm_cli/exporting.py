"""`pdlm export` and `--also`: a finished run in another form, in one file that is whole or absent."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from pdlm_cli.atomic import open_atomic
from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.exports import EXPORTS, coco, jsonl, paradlc, table, webdataset
from pdlm_cli.exports.source import ExportSource
from pdlm_cli.finished import FinishedRun
from pdlm_cli.logs import log
from pdlm_cli.moved import UNMOVED, Moved

WRITERS: dict[str, Callable[[ExportSource, BinaryIO], None]] = {
    "coco": coco.write,
    "jsonl": jsonl.write,
    "paradlc": paradlc.write,
    "csv": table.write,
    "webdataset": webdataset.write,
}
assert WRITERS.keys() == EXPORTS.keys()


def export(run: Path, form: str, target: Path, moved: Moved = UNMOVED) -> None:
    """Write the run in the directory `run` to the file `target`. form: a key of WRITERS.

    moved: where its input lies now. Raises ConfigError if the run is not finished, InputError if it is damaged or needs
    an input that is not there, OutputError.
    """
    finished = FinishedRun(run)
    source = ExportSource(finished, moved)
    try:
        with open_atomic(target) as file:
            WRITERS[form](source, file)
    except RegionError as error:  # of a region that has a caption: in the run, its mask could be read
        raise InputError(f"the masks of {run} are not what they were: {error}") from error
    log.info("wrote %s", target)


def export_beside(run: Path, forms: Iterable[str]) -> None:
    """Write forms of a finished run into its own directory, under their usual names."""
    for form in forms:
        export(run, form, run / EXPORTS[form])
