"""The denoising as a moving picture: all captions of one picture filling in at once, beside their regions."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pdlm_cli.annotated import INKS, outline
from pdlm_cli.drawings import MARK
from pdlm_cli.stdout import printable

PICTURE, TEXT, MARGIN = 360, 460, 16  # pixels: the box of the picture, the width of the captions beside it
SIZE, LINE, GAP = 15, 23, 10  # of letters, of a line, between captions
MOST_FRAMES, MOST_REGIONS = 48, 12
STEP_MS, START_MS, END_MS = 140, 500, 2000
COLORS = 128  # of the one palette that all frames share

PAPER, INK, SOFT, BLANK, FRESH = (255, 255, 255), (28, 29, 31), (110, 114, 120), (222, 224, 226), (255, 226, 120)


@dataclass(frozen=True)
class Slot:
    """A place for a token: its text, None while nothing is written, "" for what is not shown: the end and after it."""

    text: str | None
    fresh: bool = False


Caption = Sequence[Slot]


class Steps:
    """The slots of every caption after each step; `watch` is given to the model (see PerceptionDLM.caption)."""

    def __init__(self, piece: Callable[[int], str], mask: int, ends: Sequence[int]) -> None:
        """piece: text of an id in the middle of a text. mask: the id of what is not written. ends: ids of the end."""
        self._piece, self._mask, self._ends = piece, mask, ends
        self._ids: list[dict[int, list[int]]] = []

    def watch(self, ids: dict[int, list[int]]) -> None:
        self._ids.append(ids)

    def captions(self) -> list[list[Caption]]:
        """Before the first step and after each: the captions in the order of their masks."""
        before = self._ids[0]
        states = []
        for now in self._ids:
            states.append([self._slots(now[region], before[region]) for region in sorted(now)])
            before = now
        return states

    def _slots(self, now: Sequence[int], before: Sequence[int]) -> Caption:
        end = next((place for place, token in enumerate(now) if token in self._ends), len(now))
        slots = []
        for place, token in enumerate(now):
            text = None if token == self._mask else printable(self._piece(token))
            slots.append(Slot("" if place >= end else text, fresh=token != before[place]))
        return slots


def draw_gif(
    picture: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]], states: Sequence[Sequence[Caption]]
) -> bytes:
    """picture: (height, width, 3). masks: (height, width) each. states: of `Steps.captions`, a caption a mask."""
    left = _colored(picture, masks)
    widths = _final_widths(states[-1])
    height = max(left.height, max(_layout(state, widths)[1] for state in states)) + 2 * MARGIN + LINE
    last = len(states) - 1
    places = sorted({round(i * last / (MOST_FRAMES - 1)) for i in range(MOST_FRAMES)})
    frames = [_frame(left, states[place], widths, height, place, last) for place in places]
    finished = [[Slot(slot.text) for slot in caption] for caption in states[-1]]
    frames.append(_frame(left, finished, widths, height, last, last))
    times = [START_MS, *[STEP_MS] * (len(places) - 1), END_MS]

    # One palette without dithering: what does not change between frames is then equal, and Pillow leaves it out.
    palette = frames[len(frames) // 2].quantize(COLORS, dither=Image.Dither.NONE)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    sink = io.BytesIO()
    indexed[0].save(
        sink,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=times,
        loop=0,
        optimize=False,
        comment=MARK,
    )
    return sink.getvalue()


def _frame(
    left: Image.Image, state: Sequence[Caption], widths: Sequence[Sequence[float]], height: int, step: int, steps: int
) -> Image.Image:
    frame = Image.new("RGB", (left.width + TEXT + 3 * MARGIN, height), PAPER)
    frame.paste(left, (MARGIN, MARGIN))
    canvas = ImageDraw.Draw(frame)
    font = ImageFont.load_default(SIZE)
    x0, y0 = left.width + 2 * MARGIN, MARGIN
    boxes, _ = _layout(state, widths)
    for region, (caption, places) in enumerate(zip(state, boxes, strict=True)):
        _number(canvas, region, x0, y0 + places[0][1])
        for slot, (x, y, width) in zip(caption, places, strict=True):
            x, y = x + x0, y + y0
            if slot.text is None:
                canvas.rounded_rectangle((x, y + 4, x + width - 4, y + LINE - 6), 3, fill=BLANK)
            elif slot.text:
                if slot.fresh and slot.text.strip():
                    canvas.rounded_rectangle((x - 2, y + 1, x + width - 2, y + LINE - 3), 3, fill=FRESH)
                canvas.text((x, y + 2), slot.text.strip(), fill=INK, font=font)
    bottom = height - MARGIN
    canvas.text((x0, bottom - LINE + 2), f"step {step} of {steps}", fill=SOFT, font=font)
    canvas.rectangle((x0 + 130, bottom - 14, x0 + TEXT, bottom - 10), fill=BLANK)
    if step:
        canvas.rectangle((x0 + 130, bottom - 14, x0 + 130 + (TEXT - 130) * step / steps, bottom - 10), fill=SOFT)
    return frame


def _number(canvas: ImageDraw.ImageDraw, region: int, x: float, y: float) -> None:
    canvas.ellipse((x, y + 1, x + 20, y + 21), fill=INKS[region % len(INKS)])
    canvas.text((x + 10, y + 11), str(region + 1), fill=PAPER, font=ImageFont.load_default(12), anchor="mm")


def _layout(
    state: Sequence[Caption], widths: Sequence[Sequence[float]]
) -> tuple[list[list[tuple[float, float, float]]], int]:
    """x, y and width of every slot of every caption, and the height of all.

    A slot that is not written is as wide as the word that will stand there, so that nothing jumps when it comes.
    """
    font = ImageFont.load_default(SIZE)
    space = font.getlength(" ")
    boxes, y = [], 0.0
    for caption, final in zip(state, widths, strict=True):
        places, x = [], 30.0
        for slot, known in zip(caption, final, strict=True):
            width = known
            if slot.text:
                glued = not slot.text[0].isspace()
                width = font.getlength(slot.text.strip()) + space
                x -= space if glued and x > 30 else 0
            if x + width - space > TEXT:
                x, y = 30.0, y + LINE
            places.append((x, y, width))
            x += 0 if slot.text == "" else width
        boxes.append(places)
        y += LINE + GAP
    return boxes, round(y - GAP)


def _final_widths(state: Sequence[Caption]) -> list[list[float]]:
    """Of each slot, in pixels: of the word that it holds in the end, and little where it holds none."""
    font = ImageFont.load_default(SIZE)
    space = font.getlength(" ")
    return [[max(10.0, font.getlength((slot.text or "").strip()) + space) for slot in caption] for caption in state]


def _colored(picture: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> Image.Image:
    """The picture scaled to its box, each region tinted, outlined and numbered in its color."""
    height, width = picture.shape[:2]
    scale = PICTURE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    for region, mask in enumerate(masks):
        inside = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        ink = np.array(INKS[region % len(INKS)], dtype=np.float32)
        pixels[inside] = 0.75 * pixels[inside] + 0.25 * ink
        pixels[outline(mask, size)] = ink
    colored = Image.fromarray(pixels.astype(np.uint8))
    canvas = ImageDraw.Draw(colored)
    for region, mask in enumerate(masks):
        top = int(mask.any(axis=1).argmax())
        x = float(np.flatnonzero(mask[top]).mean()) * scale
        _number(canvas, region, min(max(x - 10, 0), size[0] - 21), min(max(top * scale - 11, 0), size[1] - 22))
    return colored
