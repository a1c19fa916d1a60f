import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands send the package's logs to the stderr of the moment, which is another one in the next test."""
    log = logging.getLogger("pdlm_cli")
    before = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.level, log.propagate = before
