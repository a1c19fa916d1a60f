"""Folders that conversions make carry a sign, so that none but those is ever replaced."""

from pathlib import Path

SIGN = ".pdlm-convert"  # hidden, and of no ending that any reader looks for


def sign(folder: Path) -> None:
    (folder / SIGN).write_text("made by `pdlm convert`, which may replace it\n")


def may_be_replaced(folder: Path) -> bool:
    """Whether a conversion made it, or nothing is in it."""
    return (folder / SIGN).is_file() or not any(folder.iterdir())
