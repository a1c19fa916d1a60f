"""LVIS: COCO instances whose images have an address instead of a file name."""

from pathlib import Path
from urllib.parse import quote

from pdlm_cli.conversions import coco
from pdlm_cli.conversions.source import ConversionSource
from pdlm_cli.regions import ImageEntry

HOLDS = coco.HOLDS


def write(source: ConversionSource, out: Path) -> None:
    """As COCO. Raises OutputError."""
    coco.write_instances(source, out, _address)


def _address(entry: ImageEntry) -> dict[str, str]:
    """Relative, as nobody knows a host: a file name, its folders included, is one segment."""
    return {"coco_url": f"./{quote(entry.file_name, safe='')}"}
