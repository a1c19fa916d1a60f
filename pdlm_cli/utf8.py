"""Text that a person gives is UTF-8: it is tokenized and kept in JSON and Parquet, which have no place for other bytes.

Python lets such bytes in as lone surrogates, which are found here before they get further.
"""

import os

from pdlm_cli.errors import InputError


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_line(line: str, where: str) -> str:
    """A line that was read. Raises InputError."""
    if not is_utf8(line):
        raise InputError(f"{where} is not UTF-8: {escaped(line)}; convert it, for example by iconv -t UTF-8")
    return line


def escaped(text: str) -> str:
    """What is not UTF-8 as \\x and two digits."""
    return os.fsencode(text).decode(errors="backslashreplace")
