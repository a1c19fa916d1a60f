"""Draws one pass: the photo with its regions, and who may attend to whom. python examples/draw_pass.py docs/pass.jpg"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from model.attention import structured_mask
from model.config import RegionConfig
from model.layout import Kind, Layout, plan_pass
from model.preprocess import prepare_image
from model.sizes import random_model

PHOTO = Path(__file__).parent / "photo"
COLOURS = [(230, 97, 1), (30, 136, 229), (214, 39, 140)]  # one a region, told apart by colour-blind eyes too
CONTEXT, GAP, HIDDEN = (120, 120, 128), (190, 170, 90), (245, 245, 247)
INK, PAPER = (30, 30, 36), (255, 255, 255)
SIDE, MARGIN, TITLE = 460, 24, 34
LENGTH = 16  # caption slots: enough to see them beside the prompt


def main(target: Path) -> None:
    photo = Image.open(PHOTO / "demo.jpg").convert("RGB")
    masks = [np.asarray(Image.open(PHOTO / f"demo_mask_{i}.jpg")) > 127 for i in range(len(COLOURS))]
    masks.sort(key=lambda mask: -int(mask.sum()))  # slots go by area
    panels = [("three regions, one pass", with_regions(photo, masks))]
    for name, regions in (("released", RegionConfig.released(6, 4)), ("isolated", RegionConfig.isolated(6, 4))):
        model = random_model("tiny", regions=regions)
        tiles = len(prepare_image(photo, model.config).tiles)
        captions = [[model.tokens.mask] * LENGTH] * len(masks)
        layout = plan_pass(model.tokens, model.config, tiles=tiles, captions=captions)
        panels.append((f"attention: {name}", matrix(layout, regions.attention)))

    font = ImageFont.load_default(20)
    widths = [round(SIDE * panel.width / panel.height) for _, panel in panels]
    sheet = Image.new("RGB", (sum(widths) + MARGIN * (len(panels) + 1), SIDE + TITLE + 2 * MARGIN), PAPER)
    draw, x = ImageDraw.Draw(sheet), MARGIN
    for (title, panel), width in zip(panels, widths, strict=True):
        draw.text((x, MARGIN - 6), title, fill=INK, font=font)
        smooth = Image.Resampling.LANCZOS if panel.width > SIDE else Image.Resampling.NEAREST
        sheet.paste(panel.resize((width, SIDE), smooth), (x, MARGIN + TITLE))
        x += width + MARGIN
    sheet.save(target, quality=90)


def with_regions(photo: Image.Image, masks: list[np.ndarray]) -> Image.Image:
    """The photo with each region tinted and its slot written on it."""
    pixels = np.asarray(photo).astype(float)
    for mask, colour in zip(masks, COLOURS, strict=True):
        pixels[mask] = 0.45 * pixels[mask] + 0.55 * np.array(colour)
    tinted = Image.fromarray(pixels.astype(np.uint8))
    draw, font = ImageDraw.Draw(tinted), ImageFont.load_default(40)
    for slot, mask in enumerate(masks):
        ys, xs = np.nonzero(mask)
        middle = int(np.argmin((xs - xs.mean()) ** 2 + (ys - ys.mean()) ** 2))  # a pixel of the region itself
        place = (int(xs[middle]), int(ys[middle]))
        draw.text(place, str(slot), fill=PAPER, font=font, anchor="mm", stroke_width=3, stroke_fill=INK)
    return tinted


def matrix(layout: Layout, attention: str) -> Image.Image:
    """Rows attend to columns: each allowed pair in the colour of its column, the rest pale."""
    allowed = structured_mask(layout.kind[None], layout.region[None], attention)[0, 0]
    kinds, regions = layout.kind.tolist(), layout.region.tolist()
    columns = [
        COLOURS[region] if region >= 0 else GAP if kind == Kind.GAP else CONTEXT
        for kind, region in zip(kinds, regions, strict=True)
    ]
    painted = torch.where(allowed[:, :, None], torch.tensor(columns)[None], torch.tensor(HIDDEN))
    return Image.fromarray(painted.to(torch.uint8).numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
