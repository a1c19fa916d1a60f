"""What can go wrong, and the exit code it leads to. Messages say what was expected, found, and what to do."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

# Of all regions of a pass.
PassErrorCode = Literal["prompt_too_long", "device_oom", "device_error", "nan_logits", "timeout"]
ErrorCode = Literal[
    "missing_image",
    "outside_root",
    "bad_image",
    "bad_mask",
    "empty_mask",
    "size_mismatch",
    "too_many_regions",
    PassErrorCode,
]

# What to do about each, whichever region it was.
REMEDIES: Mapping[str, str] = {
    "missing_image": "The file is not in the images folder. Check --images and the file names of the input.",
    "outside_root": "The file name leads out of the images folder. Move the picture into it, or pass --allow-outside "
    "if the input is trusted.",
    "bad_image": "The file is damaged, or no picture of a known format (JPEG, PNG, WEBP, BMP, TIFF, GIF). Fetch or "
    "export it again.",
    "bad_mask": "The mask is neither polygons nor run lengths that fit the picture. Export the annotation again; the "
    "message says what is wrong with it. Where annotations have boxes alone, --format coco-boxes takes those.",
    "empty_mask": "No pixel is inside the mask. Draw the region again, or leave it out of the input.",
    "size_mismatch": "The mask was drawn on a picture of another size. Use the picture that was annotated, not a "
    "resized copy.",
    "too_many_regions": "The image has more regions than --max-regions lets through. Raise it if the input is right.",
    "prompt_too_long": "Picture, prompt and caption are together longer than the model reads. Ask in fewer words, or "
    "for a shorter caption (--length).",
    "device_oom": "A single pass is too large for the device's memory. Choose a larger device or a smaller model, then "
    "--retry-errors.",
    "device_error": "The device failed with this pass twice. Look at the log, then try --retry-errors.",
    "nan_logits": "The model gave NaN or infinity. Try another --dtype (bf16 or fp32) in a run of its own.",
    "timeout": "The pass took longer than --pass-timeout. Raise it, then --retry-errors.",
}


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


def unwritten(path: Path, error: OSError | ValueError) -> OutputError:
    """For what writing a file raised; the message of an OSError would name the path again."""
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        return OutputError(f"cannot write {path}: there is no folder {path.parent}")
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return OutputError(f"cannot write {path}: {reason}")


class DeviceError(PdlmError):
    """The device failed or ran out of memory; the same command may work on another try."""

    exit_code = 6


class OutOfDeviceMemory(DeviceError):
    """Fewer passes at once may still fit: the device itself is sound."""


class LockedError(PdlmError):
    """Another run is writing to this directory."""

    exit_code = 7


class Interrupted(BaseException):
    """SIGINT or SIGTERM while there was nothing to finish. Not an Exception: nothing may swallow it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.name = signal.Signals(signum).name
        self.exit_code = 128 + signum
