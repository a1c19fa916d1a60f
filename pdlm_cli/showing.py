"""`pdlm show`: captions beside their picture, of a finished run or of one picture at once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from pdlm_cli import inputs
from pdlm_cli.annotated import annotate
from pdlm_cli.engine import load_engine
from pdlm_cli.errors import ConfigError, InputError, RegionError
from pdlm_cli.images import load_image
from pdlm_cli.manifest import open_manifest
from pdlm_cli.masks import decode_on
from pdlm_cli.regions import ImageEntry, region_key
from pdlm_cli.sources import MaskReader, Sources, open_with_sources
from pdlm_cli.steps_gif import MOST_REGIONS, Steps, draw_gif

INSIDE = 127  # mask pictures may be JPEG: what is brighter is inside


def pages_of_run(run: Path, pictures: int) -> list[Image.Image]:
    """A page for each of the first pictures of a run of `pdlm caption`. Raises ConfigError, InputError."""
    record = run / "_pdlm" / "run.json"
    if not record.is_file():
        raise ConfigError(f"{run} holds no run, neither of pdlm caption nor of pdlm train: there is no {record}")
    job = json.loads(record.read_text())["job"]
    said = _captions(run)
    manifest, sources = open_with_sources(**{name: job[name] for name in inputs.FIELDS})
    pages = []
    for entry in islice(manifest, pictures):
        known = [said.get(region_key(entry, region)) for region in entry.regions]
        if any(text is not None for text in known):
            pages.append(page_of(entry, sources, [text or "not captioned" for text in known]))
    if not pages:
        raise InputError(f"{run}: no region of the first {pictures} pictures has a row")
    return pages


@dataclass(frozen=True)
class Captioned:
    """Captions of the regions of one picture, their page, and how they came about as a GIF if that was asked for."""

    captions: list[str]
    page: Image.Image
    gif: bytes | None


def caption_picture(
    path: Path,
    masks: Sequence[Path],
    model: str | None,
    device: str,
    dtype: str,
    decode: Mapping[str, Any],
    seed: int,
    *,
    quantize: str | None = None,
    steps: bool = False,
) -> Captioned:
    """Caption one picture. masks: mask pictures, or annotation files that hold regions of this picture. steps: draw
    the denoising. Raises InputError, ConfigError.
    """
    try:
        picture = load_image(path)
        regions = [region for file in masks for region in _regions(file, path, picture.size)]
    except RegionError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error
    if steps and len(regions) > MOST_REGIONS:
        raise ConfigError(f"--steps-gif has room for {MOST_REGIONS} captions, found {len(regions)} regions")
    engine = load_engine(model, device, dtype, decode, quantize=quantize)
    tokens = engine.model.tokens
    seen = Steps(tokens.piece, tokens.mask, (tokens.end_of_turn, tokens.end_of_text)) if steps else None
    captions = engine.model.caption(
        picture,
        regions,
        seed=seed,
        batch_size=max(1, len(regions)),  # one batch, in which all captions are under way at once
        watch=None if seen is None else seen.watch,
        **decode,
    )
    texts = [caption.text for caption in captions]
    pixels = np.asarray(picture)
    page = annotate(pixels, regions, list(enumerate(texts)))
    return Captioned(texts, page, None if seen is None else draw_gif(pixels, regions, seen.captions()))


def _captions(run: Path) -> dict[str, str]:
    """What is said of each region, by key: its caption, or what went wrong."""
    said = {}
    for part in sorted((run / "data").glob("part-*.parquet")):
        for row in pq.read_table(part, columns=["region_key", "caption", "error_message"]).to_pylist():
            said[row["region_key"]] = row["caption"] if row["caption"] is not None else row["error_message"]
    return said


def page_of(entry: ImageEntry, sources: Sources, texts: Sequence[str]) -> Image.Image:
    """A picture with its regions, and a text of each beside it; those that cannot be read are told of in words."""
    notes: list[tuple[int | None, str]] = []
    pixels: list[NDArray[np.bool_]] = []
    try:
        picture = sources.picture(entry)
    except RegionError as error:
        return annotate(np.full((1, 1, 3), 255, dtype=np.uint8), [], [(None, f"{entry.file_name}: {error}")])
    masks = MaskReader(sources, entry)
    for region, text in zip(entry.regions, texts, strict=True):
        try:
            mask = masks.pixels(region, picture.size)
        except RegionError:
            mask = np.zeros((1, 1), dtype=np.bool_)
        if mask.any():
            notes.append((len(pixels), text))
            pixels.append(mask)
        else:
            notes.append((None, f"region {region.region_id}: {text}"))
    return annotate(np.asarray(picture), pixels, notes)


def _regions(file: Path, picture: Path, size: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    """(height, width) masks of one file, for a picture of `size` (width, height)."""
    if file.suffix.lower() != ".json":
        pixels = np.asarray(load_image(file).convert("L")) > INSIDE
        if pixels.shape != size[::-1] or not pixels.any():
            raise InputError(f"{file}: expected a mask of {size[0]} x {size[1]} pixels with a bright region in it")
        yield pixels
        return
    entries = [entry for entry in open_manifest(file) if Path(entry.file_name).name == picture.name]
    if not entries:
        raise InputError(f"{file} holds no regions of a picture {picture.name}")
    for entry in entries:
        for region in entry.regions:
            yield decode_on(region.segmentation, size, (entry.width or size[0], entry.height or size[1]))
