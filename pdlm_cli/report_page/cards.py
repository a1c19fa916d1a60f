"""The gallery's cards: a picture small enough to carry along, the outlines of its regions, what is said of them."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.images import find_image, load_image
from pdlm_cli.manifest import Manifest, open_manifest
from pdlm_cli.masks import decode_on
from pdlm_cli.preparation import run_ahead
from pdlm_cli.regions import ImageEntry, region_key
from pdlm_cli.report_page.outlines import Outline, box, grid_of, trace
from pdlm_cli.report_page.record import RunRecord

THUMBNAIL, QUALITY = 512, 70  # pixels along the longer side; of WebP

Row = Mapping[str, Any]
Card = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Where pictures and masks are taken from once more. allow_outside: as the run was told."""

    input: Path
    images: Path
    allow_outside: bool


def read_masks(source: Source, record: RunRecord, image_ids: Sequence[str]) -> tuple[dict[str, ImageEntry], str | None]:
    """The input's entries of some images, by id, and what is to be said if they are not those of the run."""
    try:
        manifest: Manifest = open_manifest(source.input)
    except InputError as error:
        return {}, f"Masks cannot be read again, boxes are shown instead: {error}. pdlm report --input names the file."
    wanted = set(image_ids)
    entries = {entry.image_id: entry for entry in manifest if entry.image_id in wanted}
    if manifest.sha256 == record.run["hashes"]["input"]:
        return entries, None
    return entries, f"{source.input} has changed since the run; regions it no longer holds are shown as boxes."


def draw_cards(
    source: Source, rows: Mapping[str, Sequence[Row]], entries: Mapping[str, ImageEntry], workers: int
) -> Iterator[Card]:
    """A card for each image, in the order of `rows` (by image id, none empty); drawn in threads."""
    items = ((own, entries.get(image_id)) for image_id, own in rows.items())
    return run_ahead(items, partial(_draw, source), workers)


def _draw(source: Source, item: tuple[Sequence[Row], ImageEntry | None]) -> Card:
    rows, entry = item
    known = next(((row["image_width"], row["image_height"]) for row in rows if row["image_width"]), None)
    card: Card = {"id": rows[0]["image_id"], "path": rows[0]["image_path"], "src": None, "note": None}
    size = known
    try:
        path = find_image(source.images, rows[0]["image_path"], allow_outside=source.allow_outside)
        picture = load_image(path)
        if known is not None and picture.size != known:
            found = f"{picture.width} x {picture.height}"
            card["note"] = f"The picture was {known[0]} x {known[1]} pixels in the run and is {found} now."
        else:
            size, card["src"] = picture.size, _thumbnail(picture)
    except RegionError as error:
        card["note"] = f"The picture cannot be shown: {error}"
    outlines = [None] * len(rows) if size is None else _outlines(rows, entry, size)
    card["size"] = None if size is None else grid_of(*size)
    card["regions"] = [_region(row, outline) for row, outline in zip(rows, outlines, strict=True)]
    return card


def _thumbnail(picture: Image.Image) -> str:
    """A data URI; pictures that are small already keep their size."""
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    sink = io.BytesIO()
    picture.save(sink, format="WEBP", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()


def _outlines(rows: Sequence[Row], entry: ImageEntry | None, size: tuple[int, int]) -> list[Outline | None]:
    """Of each row, on a picture of that size (width, height): its mask, else its box, else nothing."""
    masks = {} if entry is None else {region_key(entry, region): region.segmentation for region in entry.regions}
    drawn_on = size if entry is None else (entry.width or size[0], entry.height or size[1])
    outlines: list[Outline | None] = []
    for row in rows:
        outline = None if row["bbox_xywh"] is None else box(row["bbox_xywh"], size)
        if row["region_key"] in masks:
            try:
                mask = decode_on(masks[row["region_key"]], size, drawn_on)
                outline = trace(mask) if mask.any() else None
            except RegionError:
                pass  # the row says so
        outlines.append(outline)
    return outlines


def _region(row: Row, outline: Outline | None) -> dict[str, Any]:
    """What the page knows of a region."""
    confidence = row["mean_confidence"]
    return {
        "key": row["region_key"],
        "id": row["region_id"],
        "category": row["category"],
        "status": row["status"],
        "caption": row["caption"],
        "code": row["error_code"],
        "message": row["error_message"],
        "cut": row["finish_reason"] == "length",
        "confidence": None if confidence is None else round(confidence, 3),
        "tokens": row["tokens_generated"],
        "path": None if outline is None else outline.path,
        "pin": None if outline is None else outline.pin,
    }
