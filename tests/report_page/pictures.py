"""The pictures of docs/report.md: python -m tests.report_page.pictures docs/report

The demo's scenes with the checkpoint that ships, some of them spoilt to have errors to show, opened in Chromium.
"""

import json
import shutil
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import Browser, Page

from pdlm_cli.main import main
from tests.cli.support import REPOSITORY
from tests.report_page.support import look_at, open_browser

SCENES = REPOSITORY / "examples/scenes"
WHOLE = 3  # pictures of the page without errors
SHOWN = 4  # scene of steps.gif, from 0
QUALITY = 88


def draw(target: Path) -> None:
    target = target.resolve()
    # Names in the pages are relative to where they were made.
    with TemporaryDirectory() as folder, chdir(folder), open_browser() as browser:
        shutil.copytree(SCENES, "scenes")
        whole = captioned("demo", "--limit", str(WHOLE))
        spoil(Path("scenes"))
        spoilt = captioned("spoilt")
        light(browser, whole, target / "light.jpg")
        errors(browser, spoilt, target / "errors.jpg")
        phone(browser, whole, target / "phone.jpg")
    steps(target / "steps.gif")


def captioned(name: str, *more: str) -> Path:
    """The report of a run."""
    arguments = ["--input", "scenes/masks.json", "--output", name, "--report", "--device", "cpu", *more]
    CliRunner().invoke(main, ["caption", *arguments], catch_exceptions=False)
    return Path(name, "report.html").resolve()


def spoil(scenes: Path) -> None:
    """One photo gone, one cut off, one mask broken, one empty; only the spoilt ones are left."""
    content = json.loads((scenes / "masks.json").read_text())
    content["images"] = [content["images"][i] for i in (0, 1, 6, 7)]
    left = {image["id"] for image in content["images"]}
    content["annotations"] = [region for region in content["annotations"] if region["image_id"] in left]
    cut, gone = (image["file_name"] for image in content["images"][2:])
    (scenes / gone).unlink()
    (scenes / cut).write_bytes((scenes / cut).read_bytes()[:2000])
    content["annotations"][1]["segmentation"] = {"size": [384, 192], "counts": "not run lengths"}
    content["annotations"][4]["segmentation"] = {"size": [192, 192], "counts": [192 * 192]}
    (scenes / "masks.json").write_text(json.dumps(content))


def light(browser: Browser, report: Path, target: Path) -> None:
    with look_at(browser, report, width=1280, height=900, color_scheme="light") as look:
        look.page.locator("#gallery .words").nth(1).hover()
        save(look.page, target)


def errors(browser: Browser, report: Path, target: Path) -> None:
    with look_at(browser, report, width=1000, height=800, color_scheme="dark") as look:
        look.page.locator("#errors").evaluate("element => element.scrollIntoView()")
        save(look.page, target)


def phone(browser: Browser, report: Path, target: Path) -> None:
    with look_at(browser, report, width=390, height=844, color_scheme="light", has_touch=True) as look:
        card = look.page.locator("#gallery .card").nth(1)
        card.evaluate("element => element.scrollIntoView()")
        card.locator(".pin").first.tap()
        save(look.page, target)


def steps(target: Path) -> None:
    content = json.loads((SCENES / "masks.json").read_text())
    image = content["images"][SHOWN]
    with TemporaryDirectory() as folder:
        own = [region for region in content["annotations"] if region["image_id"] == image["id"]]
        masks = Path(folder, "masks.json")
        masks.write_text(json.dumps({**content, "images": [image], "annotations": own}))
        arguments = ["show", f"{SCENES}/{image['file_name']}", str(masks), "--output", f"{folder}/page.png"]
        CliRunner().invoke(
            main,
            [*arguments, "--sampler", "topk", "--length", "20", "--steps", "20", "--steps-gif", str(target)],
            catch_exceptions=False,
        )


def save(page: Page, target: Path) -> None:
    page.wait_for_timeout(500)  # pictures are drawn when they come into sight
    page.screenshot(path=target.with_suffix(".png"))
    with Image.open(target.with_suffix(".png")) as picture:
        picture.convert("RGB").save(target, quality=QUALITY, optimize=True)
    target.with_suffix(".png").unlink()


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
