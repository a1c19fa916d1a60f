"""The gallery's cards: a picture small enough to carry along, the outlines of its regions, what is said of them."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from PIL import Image

from pdlm_cli import inputs
from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.manifest import folder_of
from pdlm_cli.preparation import run_ahead
from pdlm_cli.regions import ImageEntry, region_key
from pdlm_cli.report_page.outlines import Outline, box, grid_of, trace
from pdlm_cli.report_page.record import RunRecord
from pdlm_cli.sources import MaskReader, Sources, open_with_sources
from pdlm_cli.stores import open_store

THUMBNAIL, QUALITY = 512, 70  # pixels along the longer side; of WebP

Row = Mapping[str, Any]
Card = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """The input's entries of the images that are shown, by id, and where pictures and masks are taken from once more.
    note: what is to be said if they are not those of the run. sources: None if the input is not there any more."""

    entries: Mapping[str, ImageEntry]
    sources: Sources | None
    note: str | None


def read_source(job: Mapping[str, Any], record: RunRecord, image_ids: Sequence[str]) -> Source:
    """job: as run.json has it, with the places where input and pictures are now."""
    try:
        manifest, sources = open_with_sources(**{name: job[name] for name in inputs.FIELDS})
    except InputError as error:
        note = (
            f"Masks cannot be read again, boxes are shown instead: {error}. pdlm report --input and --masks name them."
        )
        return Source({}, _pictures_alone(job), note)
    wanted = set(image_ids)
    entries = {entry.image_id: entry for entry in manifest if entry.image_id in wanted}
    changed = manifest.sha256 != record.run["hashes"]["input"]
    note = f"{job['input']} has changed since the run; regions it no longer holds are shown as boxes."
    return Source(entries, sources, note if changed else None)


def _pictures_alone(job: Mapping[str, Any]) -> Sources | None:
    """Pictures of an input that is gone, as far as file names find them."""
    try:
        store = open_store(job["images"] or folder_of(job["input"]), allow_outside=job["allow_outside"])
    except InputError:
        return None
    return Sources(store, store, exif=job["exif"], max_pixels=job["max_pixels"])


def draw_cards(source: Source, rows: Mapping[str, Sequence[Row]], workers: int) -> Iterator[Card]:
    """A card for each image, in the order of `rows` (by image id, none empty); drawn in threads."""
    items = ((own, source.entries.get(image_id)) for image_id, own in rows.items())
    return run_ahead(items, partial(_draw, source.sources), workers)


def _draw(sources: Sources | None, item: tuple[Sequence[Row], ImageEntry | None]) -> Card:
    rows, entry = item
    known = next(((row["image_width"], row["image_height"]) for row in rows if row["image_width"]), None)
    card: Card = {"id": rows[0]["image_id"], "path": rows[0]["image_path"], "src": None, "note": None}
    size = known
    try:
        if sources is None:
            raise RegionError("missing_image", "neither input nor pictures are where they were")
        picture = sources.picture(entry or ImageEntry(rows[0]["image_id"], rows[0]["image_path"], None, None, ()))
        if known is not None and picture.size != known:
            found = f"{picture.width} x {picture.height}"
            card["note"] = f"The picture was {known[0]} x {known[1]} pixels in the run and is {found} now."
        else:
            size, card["src"] = picture.size, _thumbnail(picture)
    except RegionError as error:
        card["note"] = f"The picture cannot be shown: {error}"
    masks = None if entry is None or sources is None else MaskReader(sources, entry)
    outlines = [None] * len(rows) if size is None else _outlines(rows, entry, masks, size)
    card["size"] = None if size is None else grid_of(*size)
    card["regions"] = [_region(row, outline) for row, outline in zip(rows, outlines, strict=True)]
    return card


def _thumbnail(picture: Image.Image) -> str:
    """A data URI; pictures that are small already keep their size."""
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    sink = io.BytesIO()
    picture.save(sink, format="WEBP", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()


def _outlines(
    rows: Sequence[Row], entry: ImageEntry | None, masks: MaskReader | None, size: tuple[int, int]
) -> list[Outline | None]:
    """Of each row, on a picture of that size (width, height): its mask, else its box, else nothing."""
    regions = {} if entry is None else {region_key(entry, region): region for region in entry.regions}
    outlines: list[Outline | None] = []
    for row in rows:
        outline = None if row["bbox_xywh"] is None else box(row["bbox_xywh"], size)
        if masks is not None and row["region_key"] in regions:
            try:
                mask = masks.pixels(regions[row["region_key"]], size)
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
