"""Which checkpoint is meant, and what tells it from another. Nothing here loads one."""

import hashlib
import importlib.resources
from pathlib import Path

from pdlm_cli.errors import ConfigError

REGIONS, QUESTIONS = "tiny", "tiny/chat"  # what ships, below the package model, and what it has learnt


def checkpoint_sha256(checkpoint: str | None, quantize: str | None = None) -> str:
    """model_sha256 of the engine that load_engine would load, without loading it. Raises ConfigError."""
    from model.checkpoint_files import resolve

    source = named_or_shipped(checkpoint)
    try:
        return weights_sha256(resolve(source), quantize)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


def weights_sha256(folder: Path, quantize: str | None) -> str:
    """Of the weights that the model computes with: quantized, they are others than those in the files."""
    from model.checkpoint_files import fingerprint

    stored = fingerprint(folder)
    return stored if quantize is None else hashlib.sha256(f"{stored} {quantize}".encode()).hexdigest()


def named_or_shipped(checkpoint: str | None, shipped: str = REGIONS) -> str:
    """Folder or hub id of a checkpoint; for None, of one that ships: REGIONS or QUESTIONS. Raises ConfigError if this
    build has none."""
    return checkpoint if checkpoint is not None else str(shipped_checkpoint(shipped))


def shipped_checkpoint(name: str = REGIONS) -> Path:
    """Folder of a small checkpoint inside the package. Raises ConfigError if this build has none."""
    folder = Path(str(importlib.resources.files("model") / name))
    if not (folder / "config.json").is_file():
        raise ConfigError(
            "no checkpoint ships with this build; name one with --model, or make a random one to try things: "
            "pdlm convert random --size tiny CHECKPOINT"
        )
    return folder
