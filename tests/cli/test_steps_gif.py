"""`pdlm show --steps-gif`: captions that fill in beside their picture."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pdlm_cli.steps_gif import (
    BLANK,
    END_MS,
    FRESH,
    MOST_FRAMES,
    MOST_REGIONS,
    START_MS,
    STEP_MS,
    Slot,
    Steps,
    draw_gif,
)
from tests.cli.runs import FAST, pdlm
from tests.cli.support import PHOTO, PHOTO_MASKS, box_mask

pytestmark = pytest.mark.usefixtures("in_process")


def test_the_steps_are_drawn_and_the_end_stays(tmp_path: Path) -> None:
    target = tmp_path / "steps.gif"
    arguments = ["--output", tmp_path / "captions.png", "--steps-gif", target, *FAST[:-4], "--steps", 6, "--length", 12]
    result = pdlm("show", PHOTO / "demo.jpg", *PHOTO_MASKS, *arguments)
    assert result.exit_code == 0, result.stderr
    assert f"wrote {target}" in result.stderr
    assert target.stat().st_size < 2_000_000
    with Image.open(target) as gif:
        frames = [(np.asarray(frame.convert("RGB")).astype(int), frame.info["duration"]) for frame in frames_of(gif)]
    assert [time for _, time in frames] == [START_MS, *[STEP_MS] * 6, END_MS]
    blank = [int((np.abs(pixels - BLANK).max(axis=2) < 6).sum()) for pixels, _ in frames]
    fresh = [int((np.abs(pixels - FRESH).max(axis=2) < 6).sum()) for pixels, _ in frames]
    assert blank[0] > blank[3] > blank[-1]
    assert fresh[0] == fresh[-1] == 0 < min(fresh[2:-1])  # what comes first may be a blank
    with Image.open(PHOTO / "demo.jpg") as photo:
        height = round(360 * photo.height / photo.width)
    corner = [pixels[16 : 16 + height, 16:376] for pixels, _ in frames]
    assert all(np.abs(part - corner[0]).max() < 6 for part in corner)  # the picture stands still


def frames_of(gif: Image.Image) -> Iterator[Image.Image]:
    for place in range(gif.n_frames):
        gif.seek(place)
        yield gif


def test_slots_are_told_apart() -> None:
    pieces = {0: "<mask>", 1: " a", 2: " cat", 9: "<end>", 3: "\x1b"}
    steps = Steps(lambda token: pieces[token], mask=0, ends=(9,))
    steps.watch({1: [0, 0, 0], 0: [0, 0, 0]})
    steps.watch({1: [0, 3, 0], 0: [1, 0, 9]})
    steps.watch({1: [2, 3, 1], 0: [1, 9, 2]})
    first, second, third = steps.captions()
    assert first == [[Slot(None)] * 3] * 2
    assert second[0] == [Slot(" a", fresh=True), Slot(None), Slot("", fresh=True)]
    assert second[1][1] == Slot("\N{REPLACEMENT CHARACTER}", fresh=True)
    assert [slot.text for slot in third[0]] == [" a", "", ""]  # nothing after the end
    assert third[0][0].fresh is False


def test_many_steps_make_no_more_frames_than_there_is_room_for() -> None:
    states = [[[Slot(" word" if place < step else None) for place in range(99)]] for step in range(100)]
    data = draw_gif(np.zeros((40, 30, 3), np.uint8), [box_mask(30, 40, 3, 3, 9, 9)], states)
    with Image.open(io.BytesIO(data)) as gif:
        assert gif.n_frames <= MOST_FRAMES + 1


def test_more_captions_than_a_gif_holds_are_refused(tmp_path: Path) -> None:
    arguments = [PHOTO_MASKS[0]] * (MOST_REGIONS + 1)
    result = pdlm("show", PHOTO / "demo.jpg", *arguments, "--steps-gif", tmp_path / "steps.gif", *FAST)
    assert result.exit_code == 2
    assert f"room for {MOST_REGIONS} captions" in result.stderr
