"""Scenes side by side: masks outlined and numbered, captions beside, in the same colors."""

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pdlm_cli.data_engine.scene import Scene

COLUMNS = 2
PICTURE, TEXT = 300, 400  # pixels: the box of a picture, the width of its captions
MARGIN, LINE, LETTERS = 14, 15, 62
INKS = (
    (214, 39, 40),
    (31, 119, 180),
    (44, 130, 44),
    (148, 70, 189),
    (210, 105, 0),
    (20, 140, 150),
    (190, 60, 130),
    (110, 80, 60),
    (70, 70, 200),
    (110, 120, 20),
)


def contact_sheet(scenes: Sequence[Scene]) -> Image.Image:
    """RGB, two scenes a row."""
    cells = [_cell(scene) for scene in scenes]
    rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    width = COLUMNS * (PICTURE + TEXT + 2 * MARGIN) + MARGIN
    heights = [max(cell.height for cell in row) + MARGIN for row in rows]
    sheet = Image.new("RGB", (width, sum(heights) + MARGIN), "white")
    y = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (MARGIN + column * (cell.width + MARGIN), y))
        y += height
    return sheet


def _cell(scene: Scene) -> Image.Image:
    font = ImageFont.load_default(12)
    lines = [
        (INKS[i % len(INKS)], line)
        for i, item in enumerate(scene.objects)
        for line in textwrap.wrap(f"{i + 1}  {item.caption}", LETTERS, subsequent_indent="    ")
    ]
    for question in scene.questions:
        asked = textwrap.wrap(f"{question.text}  {question.answer}", LETTERS, subsequent_indent="    ")
        lines += [((90, 90, 90), line) for line in asked]
    picture = _outlined(scene)
    cell = Image.new("RGB", (PICTURE + MARGIN + TEXT, max(picture.height, len(lines) * LINE)), "white")
    cell.paste(picture, (0, 0))
    canvas = ImageDraw.Draw(cell)
    for i, (ink, line) in enumerate(lines):
        canvas.text((PICTURE + MARGIN, i * LINE), line, fill=ink, font=font)
    return cell


def _outlined(scene: Scene) -> Image.Image:
    """The picture enlarged to its box, every mask with its outline and its number."""
    height, width = scene.picture.shape[:2]
    scale = PICTURE / max(width, height)
    size = round(width * scale), round(height * scale)
    pixels = np.array(Image.fromarray(scene.picture).resize(size, Image.Resampling.BICUBIC))
    for i, item in enumerate(scene.objects):
        pixels[_outline(item.mask, size)] = INKS[i % len(INKS)]
    picture = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(picture)
    font = ImageFont.load_default(11)
    for i, item in enumerate(scene.objects):
        left, top = (round(n * scale) for n in item.box[:2])
        canvas.rectangle((left, top, left + (8 if i < 9 else 15), top + 12), fill=INKS[i % len(INKS)])
        canvas.text((left + 1, top), str(i + 1), fill="white", font=font)
    return picture


def _outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The rim of a mask at another size (width, height)."""
    large = np.pad(np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)), 1)
    inner = large[:-2, 1:-1] & large[2:, 1:-1] & large[1:-1, :-2] & large[1:-1, 2:]
    return large[1:-1, 1:-1] & ~inner
