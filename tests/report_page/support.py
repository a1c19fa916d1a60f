"""Runs without a network, and the browser that opens their pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.cli.runs import run
from tests.cli.support import Dataset, StubEngine

SAID = ["A red chair.", "A blue lamp with a round foot.", "A cat.", "A green door."]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=30_000)  # milliseconds; the usual five are few on a machine that is busy


@dataclass
class Speaking(StubEngine):
    """Says the same things again and again, in the order in which captions are asked for."""

    texts: list[str] = field(default_factory=lambda: ["a thing"])
    said: int = 0

    def caption(self, passes: list[Any]) -> list[Any]:
        output = super().caption(passes)
        for caption in (caption for one in output for caption in one.captions):
            caption.text = self.texts[self.said % len(self.texts)]
            caption.mean_confidence = 0.05 + 0.9 * (self.said % 10) / 10
            self.said += 1
        return output


def caption_run(dataset: Dataset, texts: list[str] | None = None, name: str = "out", **changes: Any) -> Path:
    """The run directory of a run over the dataset, error rows and all."""
    out = dataset.folder.parent / name
    run(dataset, out, Speaking(texts=texts) if texts else Speaking(), **changes)
    return out


@contextmanager
def open_browser() -> Iterator[Browser]:
    found = [path for path in map(shutil.which, BROWSERS) if path]
    assert found, "these tests look at pages in Chromium, which is not installed; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Look:
    """An open page. said: what it wrote to the console, raised or asked in a dialog. requests: addresses it fetched."""

    page: Page
    said: list[str]
    requests: list[str]


@contextmanager
def look_at(browser: Browser, file: Path, *, width: int = 1280, height: int = 900, **context: Any) -> Iterator[Look]:
    """Open a file as a reader does. When it is closed it has neither complained nor fetched anything."""
    window = browser.new_context(viewport={"width": width, "height": height}, **context)
    page = window.new_page()
    look = Look(page, [], [])
    page.on("console", lambda message: look.said.append(message.text))
    page.on("pageerror", lambda error: look.said.append(str(error)))
    page.on("dialog", lambda dialog: (look.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: look.requests.append(request.url))
    page.goto(file.as_uri())
    yield look
    window.close()
    assert look.said == []
    assert {url.split(":")[0] for url in look.requests} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in look.requests) == 1
