"""A sample for people: its picture with the patches of each region and the texts, or its masks in letters."""

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model.config import PerceptionDLMConfig
from model.preprocess import PreparedImage, PreparedPass
from pdlm_cli.training.samples import Sample

COLOURS = ((230, 60, 60), (60, 140, 230), (50, 170, 80), (220, 160, 30), (160, 80, 200), (40, 180, 180))
LINE, MARGIN, COLUMNS = 14, 6, 70  # pixels of a line of text, around it, and letters in it


def picture_of(image: PreparedImage) -> NDArray[np.uint8]:
    """(height, width, 3) of the tiles put together again, without the thumbnail."""
    columns, rows = image.grid
    tiles = image.tiles[: columns * rows].transpose(0, 2, 3, 1)
    side = tiles.shape[1]
    mosaic: NDArray[np.uint8] = (
        tiles.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3)
    )
    return mosaic


def patches_of(sample: Sample) -> NDArray[np.bool_]:
    """(R, rows, columns) patches of the whole picture that each region's prompt is added to, in slot order."""
    assert isinstance(sample.prepared, PreparedPass)
    columns, rows = sample.prepared.image.grid
    own = sample.prepared.footprints[:, : columns * rows]
    regions, _, grid, _ = own.shape
    patches: NDArray[np.bool_] = (
        own.reshape(regions, rows, columns, grid, grid).swapaxes(2, 3).reshape(regions, rows * grid, columns * grid)
    )
    return patches


def draw_sample(
    sample: Sample, config: PerceptionDLMConfig, wanted: Sequence[str], found: Sequence[str]
) -> Image.Image:
    """The pictures side by side, regions tinted, and below them what each text should be and is."""
    pictures = [picture_of(image) for image in sample.images]
    high, wide = max(map(len, pictures), default=0), sum(each.shape[1] for each in pictures)  # none for text alone
    pixels = np.full((high, wide, 3), 255, dtype=np.float32)
    left = 0
    for each in pictures:
        pixels[: len(each), left : left + each.shape[1]] = each
        left += each.shape[1]
    if isinstance(sample.prepared, PreparedPass):
        for slot, patches in enumerate(patches_of(sample)):
            inside = patches.repeat(config.patch_size, axis=0).repeat(config.patch_size, axis=1)
            pixels[inside] = 0.6 * pixels[inside] + 0.4 * np.array(COLOURS[slot % len(COLOURS)])
    height, width = pixels.shape[:2]
    lines: list[tuple[str, tuple[int, int, int]]] = []
    for slot, (expected, text) in enumerate(zip(wanted, found, strict=True)):
        for label, value in (("expected", expected), ("found", text)):
            colour = COLOURS[slot % len(COLOURS)] if label == "expected" else (30, 30, 30)
            lines += [(line, colour) for line in textwrap.wrap(f"{label}: {value}", COLUMNS)]
    page = Image.new("RGB", (max(width, 7 * COLUMNS), height + LINE * len(lines) + 2 * MARGIN), (255, 255, 255))
    page.paste(Image.fromarray(pixels.astype(np.uint8)), (0, 0))
    draw = ImageDraw.Draw(page)
    for i, (line, colour) in enumerate(lines):
        draw.text((MARGIN, height + MARGIN + LINE * i), line, fill=colour)
    return page


def mask_letters(sample: Sample, most: int = 32) -> list[str]:
    """The patch grid as text: the slot of the region on each patch, `+` where several meet, at most `most` a side."""
    patches = patches_of(sample)
    step = -(-max(patches.shape[1:]) // most)
    lines = []
    for row in patches[:, ::step].swapaxes(0, 1):
        cells = row[:, ::step].T
        lines.append("".join("." if not c.any() else "+" if c.sum() > 1 else str(int(c.argmax())) for c in cells))
    return lines
