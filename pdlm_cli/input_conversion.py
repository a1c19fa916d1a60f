"""`pdlm convert` of inputs: one of any format as any other, a piece at a time, whole or not at all."""

from pathlib import Path
from typing import Any

from pdlm_cli.conversions import (
    TARGETS,
    coco,
    folder,
    folders,
    lvis,
    manifest,
    panoptic,
    paradlc,
    plain,
    sa1b,
    training,
)
from pdlm_cli.conversions.result import Converted
from pdlm_cli.conversions.source import ConversionSource
from pdlm_cli.errors import ConfigError
from pdlm_cli.logs import log
from pdlm_cli.manifest import Manifest
from pdlm_cli.sources import Sources

# Modules with HOLDS and write(source, out).
WRITERS: dict[str, Any] = {
    "manifest": manifest,
    "coco": coco,
    "panoptic": panoptic,
    "lvis": lvis,
    "sa1b": sa1b,
    "paradlc": paradlc,
    "training": training,
    "plain": plain,
    "folder": folder,
}
assert WRITERS.keys() == TARGETS.keys()


def convert(to: str, found: Manifest, sources: Sources, out: Path, **options: Any) -> Converted:
    """Write an input to `out`, a file or a folder. to: a key of TARGETS. options: those of its `write`.

    What was there is replaced: see check_output. Raises OutputError.
    """
    source = ConversionSource(found, sources, WRITERS[to].HOLDS)
    WRITERS[to].write(source, out, **options)
    converted = source.converted
    converted.warn(TARGETS[to].title)
    errors = converted.errors.total()
    log.info("wrote %s from %d regions of %d images, %d errors", out, converted.regions, converted.images, errors)
    return converted


def check_output(to: str, out: Path, *, overwrite: bool) -> None:
    """Raises ConfigError if `out` is called like a file of another kind, or it, or a folder that belongs to it, exists
    and may not be replaced."""
    made, ending = [out], Path(TARGETS[to].out).suffix
    if ending and out.suffix != ending:
        raise ConfigError(f"{out} would be {TARGETS[to].title}; expected a name that ends in {ending}")
    if to == "panoptic":
        made.append(panoptic.pictures_folder(out))
    for path in made:
        if not path.exists():
            continue
        if not overwrite:
            raise ConfigError(f"{path} exists; pass --overwrite to replace it, or choose another name")
        if path.is_dir() and not folders.may_be_replaced(path):
            raise ConfigError(
                f"{path} was not made by `pdlm convert`, which would remove all that is in it; choose another name, or "
                "remove it first"
            )
