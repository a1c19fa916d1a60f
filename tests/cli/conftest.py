import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import Dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "photos"
    folder.mkdir()
    return Dataset(folder)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands send the package's logs to the stderr of the moment, which is another one in the next test."""
    log = logging.getLogger("pdlm_cli")
    before = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.level, log.propagate = before
