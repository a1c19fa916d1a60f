from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from pdlm_cli.report_page.page import write_report
from tests.cli.support import Dataset, box_mask, rle
from tests.report_page.support import SAID, Look, caption_run, look_at, open_browser


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


@pytest.fixture(scope="module")
def page_file(module_dataset: Dataset) -> Path:
    """Two pictures of two regions, one lost picture and one mask that does not decode."""
    dataset = module_dataset
    for left in (10, 60):
        image = dataset.image(120, 90)
        for x in (left, left + 25):
            dataset.region(image, rle(box_mask(120, 90, x, 20, 20, 50)))
    dataset.coco["categories"].append({"id": 2, "name": "other"})
    dataset.coco["annotations"][-1]["category_id"] = 2
    dataset.region(2, "nonsense")
    dataset.region(dataset.image(name="lost.png", write=False))
    out = caption_run(dataset, SAID)
    write_report(out, workers=1)
    return out / "report.html"


@pytest.fixture
def look(browser: Browser, page_file: Path) -> Iterator[Look]:
    with look_at(browser, page_file) as look:
        yield look


@pytest.fixture
def page(look: Look) -> Page:
    return look.page
