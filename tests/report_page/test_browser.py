"""The page as people use it, in Chromium: pointer, touch, keyboard, filters, many pictures."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
from playwright.sync_api import Browser, Page, expect

from pdlm_cli.report_page.page import write_report
from tests.cli.support import REPOSITORY, Dataset, box_mask, rle
from tests.report_page.support import SAID, caption_run, look_at


def lit(page: Page) -> dict[str, list[str]]:
    """What is lit: numbers of shapes, pins and captions by card."""
    return page.evaluate("""() => {
      const name = (e) => `${e.closest(".card").dataset.card}/${e.dataset.region}`;
      const named = (kind) => [kind, [...document.querySelectorAll(`${kind}.lit`)].map(name)];
      return Object.fromEntries(["path", ".pin", ".caption"].map(named));
    }""")


def test_a_caption_lights_its_region(page: Page) -> None:
    page.locator("#gallery .caption").nth(1).hover()
    assert lit(page) == {"path": ["0/1"], ".pin": ["0/1"], ".caption": ["0/1"]}
    expect(page.locator(".bubble").first).to_be_hidden()
    page.locator("h1").hover()
    assert lit(page) == {"path": [], ".pin": [], ".caption": []}


def test_a_region_lights_its_caption_and_shows_it(page: Page) -> None:
    page.locator("path[data-region]").nth(0).hover()
    assert lit(page) == {"path": ["0/0"], ".pin": ["0/0"], ".caption": ["0/0"]}
    caption = page.locator("#gallery .words").first.inner_text()
    assert caption in SAID
    expect(page.locator(".bubble").first).to_contain_text(caption)


def test_a_tap_shows_a_caption_and_another_takes_it_away(browser: Browser, page_file: Path) -> None:
    with look_at(browser, page_file, width=390, height=844, has_touch=True) as look:
        pin = look.page.locator(".pin").nth(1)
        pin.tap()
        expect(look.page.locator(".bubble").first).to_be_visible()
        expect(pin).to_have_attribute("aria-pressed", "true")
        look.page.locator("h1").tap()
        assert lit(look.page)["path"] == ["0/1"]  # stays, for there is no pointer to hold
        pin.tap()
        expect(pin).to_have_attribute("aria-pressed", "false")


def test_the_keyboard_alone_reaches_a_region_and_its_caption(page: Page) -> None:
    page.locator(".pin").first.wait_for()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(".pin").nth(0)).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    expect(page.locator(".pin").nth(1)).to_be_focused()
    assert lit(page)[".caption"] == ["0/1"]
    expect(page.locator(".bubble").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".caption").nth(0)).to_be_focused()
    assert lit(page)["path"] == ["0/0"]
    page.keyboard.press("Enter")
    expect(page.locator(".caption").nth(0)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".caption").nth(1)).to_be_focused()
    page.keyboard.press("Escape")
    assert lit(page)["path"] == []


def shown(page: Page) -> int:
    return page.locator(".caption:visible").count()


def test_filters_narrow_and_widen_again(page: Page) -> None:
    count = page.locator("#count")
    expect(count).to_have_text("6 regions in 3 pictures")
    page.get_by_label("Text").fill("BLUE lamp")
    expect(count).to_have_text("1 of 6 regions in 1 picture")
    assert shown(page) == page.locator(".pin:visible").count() == page.locator("path[data-region]:visible").count() == 1
    page.get_by_label("Text").fill("no such words")
    expect(page.locator("#nothing")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(count).to_have_text("6 regions in 3 pictures")
    page.get_by_label("Category").select_option("other")
    assert shown(page) == 1
    page.get_by_label("Category").select_option("")
    page.get_by_label("Status").select_option("error")
    assert shown(page) == 2
    page.get_by_label("Status").select_option("")
    page.get_by_label("Lowest confidence, percent").fill("20")
    page.get_by_label("Highest confidence, percent").fill("30")
    assert shown(page) == 1
    expect(page.locator(".caption:visible")).to_contain_text("confidence 23 %")


def test_an_error_leads_to_its_region(page: Page) -> None:
    expect(page.locator("#errors")).to_contain_text("bad_mask 1 region")
    page.locator("#errors a").first.click()
    assert page.evaluate("document.querySelector(':target').textContent").startswith("3bad_mask")
    expect(page.locator(":target")).to_be_in_viewport()


def test_a_skipped_region_says_why(browser: Browser, dataset: Dataset) -> None:
    image = dataset.image()
    dataset.region(image)
    dataset.region(image, iscrowd=1)
    out = caption_run(dataset, skip_crowd=True)
    write_report(out, workers=1)
    with look_at(browser, out / "report.html") as look:
        look.page.get_by_label("Status").select_option("skipped")
        assert shown(look.page) == 1
        expect(look.page.locator(".caption:visible")).to_contain_text("skipped: a crowd, which --skip-crowd leaves out")


def test_five_thousand_regions_open_within_seconds(browser: Browser, dataset: Dataset) -> None:
    shapes = [rle(box_mask(60, 45, 1 + 2 * number, 5, 6, 30)) for number in range(25)]
    for _ in range(200):
        image = dataset.image(60, 45)
        for shape in shapes:
            dataset.region(image, shape)
    out = caption_run(dataset, SAID, workers=1)
    written = write_report(out, workers=1)
    assert written.size < 5e6
    started = time.monotonic()
    with look_at(browser, out / "report.html") as look:
        page = look.page
        page.locator(".pin").first.wait_for()
        assert time.monotonic() - started < 60  # one or two on an idle machine
        expect(page.locator("#count")).to_have_text("5,000 regions in 200 pictures")
        assert page.locator("img").count() < 50  # the others come when they are scrolled to
        started = time.monotonic()
        last = page.locator("#gallery > .card").last
        last.scroll_into_view_if_needed()
        last.locator("img").wait_for()
        page.get_by_label("Text").fill("lamp")
        expect(page.locator("#count")).to_have_text("1,250 of 5,000 regions in 200 pictures")
        assert time.monotonic() - started < 30


def test_the_report_of_the_demo(browser: Browser, tmp_path: Path) -> None:
    """What `make demo` runs, on its first picture and in few steps."""
    fewer = ["--limit", "1", "--steps", "4"]
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    demo = subprocess.run(
        ["bash", "jobs/caption/demo.sh", *fewer],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": programs, "OUT": str(tmp_path / "out")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stderr
    assert (tmp_path / "out/pictures.png").exists()
    rows = pq.read_table(tmp_path / "out/data").to_pylist()
    with look_at(browser, tmp_path / "out/report.html") as look:
        page = look.page
        assert page.locator("#gallery .words").all_inner_texts() == [row["caption"] for row in rows]
        assert page.locator("path[data-region]").count() == len(rows) == 3
        expect(page.locator("img")).to_have_js_property("complete", True)
        assert page.evaluate("document.querySelector('img').naturalWidth") > 50
        expect(page.locator("#run")).to_contain_text("model/tiny, which ships")
