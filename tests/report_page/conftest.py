from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.cli.support import Dataset
from tests.report_page.support import open_browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(tmp_path)


def make_dataset(folder: Path) -> Dataset:
    photos = folder / "photos"
    photos.mkdir()
    return Dataset(photos)


@pytest.fixture(scope="module")
def module_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("run"))
