"""The plain list: pictures, each with its masks."""

import base64
import mimetypes
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pdlm_cli.atomic import open_atomic
from pdlm_cli.conversions.json_lists import write_list
from pdlm_cli.conversions.source import ConversionSource
from pdlm_cli.regions import ImageEntry

HOLDS = ("picture",)


def write(source: ConversionSource, out: Path) -> None:
    """Raises OutputError."""
    with open_atomic(out) as file, source.images() as entries:
        write_list(file, _records(entries, source))


def _records(entries: Iterable[ImageEntry], source: ConversionSource) -> Iterator[dict[str, Any]]:
    for entry in entries:
        yield picture_of(entry, source) | {"masks": [found.written for found in source.regions(entry)]}


def picture_of(entry: ImageEntry, source: ConversionSource) -> dict[str, Any]:
    """What a list says of an image before its regions, which go by their place in its record."""
    for place, region in enumerate(entry.regions):
        source.renamed("region ids", region.region_id, place)
    size = {"width": entry.width, "height": entry.height} if entry.width and entry.height else {}
    return {"image": _reference(entry, source), "image_id": entry.image_id} | size


def _reference(entry: ImageEntry, source: ConversionSource) -> str:
    """A file name; of a picture that the input holds the `data:` text, as it is written or made."""
    if entry.embedded is None:
        return entry.file_name
    if isinstance(entry.embedded, str):
        return entry.embedded
    picture = source.picture(entry)
    if picture is None:
        return entry.file_name
    kind = mimetypes.guess_type(entry.file_name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"
