"""matplotlib, which only those who want plots have to install."""

import importlib.util

from pdlm_cli.errors import ConfigError


def require_matplotlib() -> None:
    """Raises ConfigError where it is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError('plots need matplotlib; install it: pip install "pdlm[plots]"')
