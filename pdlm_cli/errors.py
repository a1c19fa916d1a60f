"""What can go wrong, and the exit code it leads to. Messages say what was expected, found, and what to do."""

import signal
from typing import ClassVar, Literal

ErrorCode = Literal[
    "missing_image", "outside_root", "bad_image", "bad_mask", "empty_mask", "size_mismatch", "too_many_regions"
]


class RegionError(ValueError):
    """One region, or all regions of one image, cannot be captioned: an error row, and the run goes on."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code


class PdlmError(ValueError):
    """The command cannot do what was asked; `exit_code` tells scripts why."""

    exit_code: ClassVar[int]


class ConfigError(PdlmError):
    """Flags, settings or checkpoint do not fit together, or the output belongs to another run."""

    exit_code = 2


class InputError(PdlmError):
    """The input file is not readable or not what it should be."""

    exit_code = 4


class OutputError(PdlmError):
    """The output cannot be written: permissions, a full disk."""

    exit_code = 5


class DeviceError(PdlmError):
    """The device failed or ran out of memory; the same command may work on another try."""

    exit_code = 6


class LockedError(PdlmError):
    """Another run is writing to this directory."""

    exit_code = 7


class Interrupted(BaseException):
    """SIGINT or SIGTERM while there was nothing to finish. Not an Exception: nothing may swallow it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.name = signal.Signals(signum).name
        self.exit_code = 128 + signum
