"""The page as people use it, in Chromium: pointer, keyboard, filters, dark and small windows, hostile texts."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, expect

from pdlm_cli.report_page.page import write_report
from tests.cli.support import REPOSITORY, Dataset, box_mask, rle
from tests.report_page.support import Look, caption_run, look_at

HOSTILE = [
    '<img src=x onerror="alert(1)">',
    "</script><script>alert(2)</script>",
    "<!--<script>",
    "{{ 7 * 7 }} {% raw %}",
    "\" onfocus='alert(3)' autofocus x=\"",
    "javascript:alert(4) &lt;b&gt; \u2028 \u0000 \u202e",
]
SAID = ["A red chair.", "A blue lamp with a round foot.", "A cat.", "A green door."]

# Lowest contrast of any text with what is painted behind it, and that text. Translucent colours are blended.
CONTRAST = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * under[i]);
  const light = (color) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = color.slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  let worst = [99, ""];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const painted = element.checkVisibility() && !element.closest("script, noscript, option");
    if (!painted || !texts.currentNode.data.trim()) continue;
    const ground = behind(element);
    const ink = over(parse(getComputedStyle(element).color), ground);
    const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < worst[0]) worst = [ratio, texts.currentNode.data];
  }
  return worst;
}"""


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_texts_can_be_read_and_nothing_is_cut_off(browser: Browser, page_file: Path, scheme: str, width: int) -> None:
    with look_at(browser, page_file, width=width, color_scheme=scheme) as look:
        page = look.page
        page.locator(".pin").first.wait_for()
        for summary in page.locator("summary").all():
            summary.click()
        page.locator(".pin").first.focus()  # a bubble and a lit caption are looked at too
        ratio, text = page.evaluate(CONTRAST)
        assert ratio >= 4.5, text
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor").strip("rgb()").split(",")
        assert (sum(map(int, paper)) < 120) == (scheme == "dark")
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_every_part_has_a_name_and_a_place(page: Page) -> None:
    page.locator(".pin").first.wait_for()
    problems = page.evaluate("""() => {
      const all = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility());
      const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
      const levels = all("h1, h2, h3").map((e) => Number(e.tagName[1]));
      return {
        pictures: all("img").filter((e) => !e.alt).length,
        fields: all("input, select").filter((e) => !e.labels.length && !e.getAttribute("aria-label")).length,
        buttons: all("button, a").filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label"))).length,
        ids: ids.length - new Set(ids).size,
        references: all("[aria-labelledby]").filter((e) => !ids.includes(e.getAttribute("aria-labelledby"))).length,
        headings: levels.filter((level, i) => level > (levels[i - 1] || 0) + 1).length,
        lists: all("li").filter((e) => !e.closest("ul, ol")).length,
        positive_tabs: all("[tabindex]").filter((e) => e.tabIndex > 0).length,
        small: all("button, summary").filter((e) => e.getBoundingClientRect().height < 18).length,
      };
    }""")
    assert set(problems.values()) == {0}, problems
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.title()
    assert page.locator("main").count() == page.locator("h1").count() == 1
    expect(
        page.get_by_role("list", name="Pictures with their regions").get_by_role("button", name="A cat.")
    ).to_have_count(2)


def test_hostile_texts_stay_texts(browser: Browser, dataset: Dataset) -> None:
    image = dataset.image(120, 90, name="<img src=x onerror=alert(5)>.png")
    for number in range(len(HOSTILE)):
        dataset.region(image, rle(box_mask(120, 90, 5 + 15 * number, 10, 10, 60)), id=f"<b onclick=alert(6)>{number}")
    dataset.region(image, "nonsense", id="</script><script>alert(7)</script>")
    dataset.coco["categories"][0]["name"] = "</select><script>alert(8)</script>"
    out = caption_run(dataset, HOSTILE, name="<script>alert(9)<")
    write_report(out, workers=1)
    with look_at(browser, out / "report.html") as look:  # which fails on any dialog or request
        page = look.page
        page.locator(".pin").first.wait_for()
        assert set(page.locator("#gallery .words").all_text_contents()) > set(HOSTILE)
        for pin in page.locator(".pin").all():
            pin.focus()
        assert page.locator("script").count() == 2
        assert page.locator("img").count() == 1
        assert page.locator("b, #gallery [onclick], [onerror], [onfocus]").count() == 0
        assert "49" not in page.locator("#gallery .words").all_text_contents()


def test_policy_lets_no_other_script_style_or_address_in(browser: Browser, page_file: Path) -> None:
    """Even if a text became markup, the browser would refuse to act on it."""
    with look_at(browser, page_file) as look:
        refused = look.page.evaluate("""async () => {
          const blocked = [];
          document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
          const script = document.createElement("script");
          script.textContent = "window.entered = true";
          document.body.append(script);
          const holder = document.createElement("div");
          holder.innerHTML = '<img src=x onerror="window.entered = true"><img src="https://example.invalid/a.png">';
          document.body.append(holder);
          await new Promise((done) => setTimeout(done, 300));
          return [window.entered === true, ...new Set(blocked)];
        }""")
        assert refused[0] is False
        assert {"script-src-elem", "script-src-attr", "img-src"} >= set(refused[1:]) >= {"script-src-elem", "img-src"}
        # The browser tells of what it refuses, and counts it as asked for.
        look.said.clear()
        del look.requests[1:]


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
