"""Pictures and pages that are drawn for people. They can be drawn again, so that their file is replaced unasked; they
are marked, so that nothing else is.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pdlm_cli.atomic import write_atomic
from pdlm_cli.errors import ConfigError, unwritten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARK = "drawn by pdlm"  # stands as such in files of every kind: PNG, JPEG, GIF, SVG, PDF, HTML


def check_replaceable(path: Path) -> None:
    """Raise ConfigError if a file is there that is no drawing of pdlm: a photo, a mask, a page that a user wrote."""
    try:
        if not path.is_file() or MARK.encode() in path.read_bytes():
            return
    except OSError as error:
        raise unwritten(path, error) from error
    raise ConfigError(f"{path} exists and was not drawn by this version of pdlm; remove it, or choose another name")


def write_picture(path: Path, picture: Image.Image) -> None:
    """PNG or else JPEG, by the name of the file. Raises OutputError."""
    sink, words = io.BytesIO(), PngInfo()
    words.add_text("Software", MARK)
    try:
        if path.suffix.lower() == ".png":
            picture.save(sink, "PNG", pnginfo=words)
        else:
            picture.save(sink, "JPEG", quality=85, comment=MARK)
    except (OSError, ValueError) as error:  # JPEG has room for 65,535 pixels along a side
        raise unwritten(path, error) from error
    write_atomic(path, sink.getvalue())


def write_figure(path: Path, figure: "Figure") -> None:
    """PNG, JPEG, SVG or PDF, by the name of the file. Raises OutputError."""
    sink, kind = io.BytesIO(), path.suffix.lower().removeprefix(".")
    if kind in ("jpg", "jpeg"):
        figure.savefig(sink, format=kind, pil_kwargs={"comment": MARK})
    else:
        figure.savefig(sink, format=kind, metadata={"Software" if kind == "png" else "Creator": MARK})
    write_atomic(path, sink.getvalue())
