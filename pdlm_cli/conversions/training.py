"""The training JSON: pictures, each with its masks and their captions."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pdlm_cli.atomic import open_atomic
from pdlm_cli.conversions.json_lists import write_list
from pdlm_cli.conversions.plain import picture_of
from pdlm_cli.conversions.source import ConversionSource
from pdlm_cli.logs import log
from pdlm_cli.regions import ImageEntry

HOLDS = ("caption", "picture")


def write(source: ConversionSource, out: Path) -> None:
    """Regions without a caption are written too, and told of: they are an input, and nothing to train on.

    Raises OutputError.
    """
    with open_atomic(out) as file, source.images() as entries:
        write_list(file, _records(entries, source))


def _records(entries: Iterable[ImageEntry], source: ConversionSource) -> Iterator[dict[str, Any]]:
    without = 0
    for entry in entries:
        captions = [region.caption for region in entry.regions]
        without += captions.count(None)
        said = {"captions": captions} if captions.count(None) < len(captions) else {}
        yield picture_of(entry, source) | {"mask_rles": [found.written for found in source.regions(entry)]} | said
    if without:
        log.warning(
            "%d regions have no caption; `pdlm train` leaves out the pictures of those. Captions of a finished run: "
            "`pdlm export RUN --to coco captions.json`, then convert that",
            without,
        )
