"""Texts of a run never become markup, and if they did, the browser would refuse to act on it."""

from pathlib import Path

from playwright.sync_api import Browser

from pdlm_cli.report_page.page import write_report
from tests.cli.support import Dataset, box_mask, rle
from tests.report_page.support import caption_run, look_at

HOSTILE = [
    '<img src=x onerror="alert(1)">',
    "</script><script>alert(2)</script>",
    "<!--<script>",
    "{{ 7 * 7 }} {% raw %}",
    "\" onfocus='alert(3)' autofocus x=\"",
    "javascript:alert(4) &lt;b&gt; \u2028 \u0000 \u202e",
]


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
