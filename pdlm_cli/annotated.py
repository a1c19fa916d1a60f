"""Pictures for people: regions outlined and numbered, what is said of them beside, in the same colors."""

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PICTURE, TEXT = 300, 400  # pixels: the box of a picture, the width of the text beside it
MARGIN, LINE, LETTERS = 14, 15, 62
INKS = (
    (214, 39, 40),
    (31, 119, 180),
    (44, 130, 44),
    (148, 70, 189),
    (184, 88, 0),
    (14, 122, 132),
    (190, 60, 130),
    (110, 80, 60),
    (70, 70, 200),
    (110, 120, 20),
)
PLAIN_INK = (90, 90, 90)


def annotate(
    picture: NDArray[np.uint8],
    masks: Sequence[NDArray[np.bool_]],
    notes: Sequence[tuple[int | None, str]],
    *,
    numbered: bool = True,
) -> Image.Image:
    """RGB: the picture with its regions, and the notes to its right.

    picture: (height, width, 3). masks: (height, width) each. notes: a region's number, counted from 0, and a text, in
    the region's color; None for what concerns the whole picture. numbered: whether the number stands before the text.
    """
    font = ImageFont.load_default(12)
    lines = []
    for region, text in notes:
        label = "" if region is None or not numbered else f"{region + 1}  "
        ink = PLAIN_INK if region is None else INKS[region % len(INKS)]
        lines += [(ink, line) for line in textwrap.wrap(label + text, LETTERS, subsequent_indent="    ")]
    left = _outlined(picture, masks)
    page = Image.new("RGB", (PICTURE + MARGIN + TEXT, max(left.height, len(lines) * LINE)), "white")
    page.paste(left, (0, 0))
    canvas = ImageDraw.Draw(page)
    for i, (ink, line) in enumerate(lines):
        canvas.text((PICTURE + MARGIN, i * LINE), line, fill=ink, font=font)
    return page


def sheet(pages: Sequence[Image.Image], columns: int = 2) -> Image.Image:
    """RGB: pages of one width side by side, `columns` a row."""
    rows = [pages[i : i + columns] for i in range(0, len(pages), columns)]
    heights = [max(page.height for page in row) + MARGIN for row in rows]
    width = max(page.width for page in pages)
    whole = Image.new("RGB", (len(rows[0]) * (width + MARGIN) + MARGIN, sum(heights) + MARGIN), "white")
    y = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, page in enumerate(row):
            whole.paste(page, (MARGIN + column * (width + MARGIN), y))
        y += height
    return whole


def sheet_png(pages: Sequence[Image.Image]) -> bytes:
    """The same as a PNG file."""
    sink = io.BytesIO()
    sheet(pages).save(sink, format="PNG")
    return sink.getvalue()


def _outlined(picture: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> Image.Image:
    """The picture scaled to its box, every mask with its outline and its number."""
    height, width = picture.shape[:2]
    scale = PICTURE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    for i, mask in enumerate(masks):
        pixels[outline(mask, size)] = INKS[i % len(INKS)]
    outlined = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(outlined)
    font = ImageFont.load_default(11)
    for i, mask in enumerate(masks):
        left, top = round(int(mask.any(axis=0).argmax()) * scale), round(int(mask.any(axis=1).argmax()) * scale)
        canvas.rectangle((left, top, left + (8 if i < 9 else 15), top + 12), fill=INKS[i % len(INKS)])
        canvas.text((left + 1, top), str(i + 1), fill="white", font=font)
    return outlined


def outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The rim of a mask at another size (width, height)."""
    scaled = np.pad(np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)), 1)
    inner = scaled[:-2, 1:-1] & scaled[2:, 1:-1] & scaled[1:-1, :-2] & scaled[1:-1, 2:]
    return scaled[1:-1, 1:-1] & ~inner
