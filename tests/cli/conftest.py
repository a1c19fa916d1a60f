from pathlib import Path

import pytest

from tests.cli.support import Dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "photos"
    folder.mkdir()
    return Dataset(folder)
