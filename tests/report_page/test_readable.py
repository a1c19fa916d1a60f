"""Whether everybody can read the page: contrast, dark and small windows, names of all parts."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.report_page.support import look_at

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
