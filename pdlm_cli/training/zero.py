"""DeepSpeed's ZeRO, by a JSON configuration that transformers' Trainer completes."""

import importlib.util
from pathlib import Path

from pdlm_cli import strict_json
from pdlm_cli.errors import ConfigError


def check_deepspeed(configuration: str) -> None:
    """Raise ConfigError unless the file holds a JSON object and DeepSpeed is installed."""
    try:
        values = strict_json.loads(Path(configuration).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"deepspeed: {configuration} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"deepspeed: {configuration} should hold an object, found {type(values).__name__}")
    if importlib.util.find_spec("deepspeed") is None:
        raise ConfigError("deepspeed: it is not installed; pip install deepspeed, or use strategy: fsdp2 instead")
