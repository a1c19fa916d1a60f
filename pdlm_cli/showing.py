"""`pdlm show`: captions beside their picture, of a finished run or of one picture at once."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from model.settings import DecodeSettings
from pdlm_cli.annotated import annotate
from pdlm_cli.device import model_errors
from pdlm_cli.engine import load_engine
from pdlm_cli.errors import ConfigError, InputError, RegionError
from pdlm_cli.images import load_image
from pdlm_cli.masks import pack
from pdlm_cli.moved import UNMOVED, Moved
from pdlm_cli.progress import watched
from pdlm_cli.readers.folder import PICTURE
from pdlm_cli.regions import ImageEntry, Region, region_key
from pdlm_cli.run_dir import read_facts
from pdlm_cli.run_input import open_again
from pdlm_cli.run_paths import facts_path, is_run
from pdlm_cli.sources import MaskReader, Size, Sources, open_with_sources
from pdlm_cli.stdout import printable
from pdlm_cli.steps_gif import MOST_REGIONS, Steps, draw_gif
from pdlm_cli.stores import open_store


def pages_of_run(run: Path, pictures: int, moved: Moved = UNMOVED) -> list[Image.Image]:
    """A page for each of the first pictures of a run of `pdlm caption`. moved: where its input lies now. Raises
    ConfigError, InputError."""
    if not is_run(run):
        raise ConfigError(
            f"{run} holds no run, neither of pdlm caption nor of pdlm train: there is no {facts_path(run)}"
        )
    facts = read_facts(run)
    said = _captions(run)
    manifest, sources = open_again(run, facts["job"], moved)
    told = (
        (entry, texts)
        for entry in manifest
        if any(texts := [said.get(region_key(entry, region), "") for region in entry.regions])
    )
    total = min(pictures, facts["input"]["images"])
    with watched(islice(told, pictures), total, doing="drawing", unit="pictures") as entries:
        pages = [page_of(entry, sources, [text or "not captioned" for text in texts]) for entry, texts in entries]
    if not pages:
        raise InputError(f"{run}: no region of {manifest.path} has a row")
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
    settings: DecodeSettings,
    seed: int,
    *,
    quantize: str | None = None,
    steps: bool = False,
) -> Captioned:
    """Caption one picture. masks: mask pictures, or annotation files that hold regions of this picture. steps: draw
    the denoising. Raises InputError, ConfigError.
    """
    drawn = [(file, *found) for file in masks for found in _drawn(file, path)]
    _, first, sources = drawn[0]
    try:
        picture = load_image(path, exif="auto", drawn_on=sources.drawn_on(first))
    except RegionError as error:
        raise InputError(str(error)) from error
    regions = [mask for found in drawn for mask in _masks(*found, picture.size)]
    if steps and len(regions) > MOST_REGIONS:
        raise ConfigError(f"--steps-gif has room for {MOST_REGIONS} captions, found {len(regions)} regions")
    engine = load_engine(model, device, dtype, settings, quantize=quantize)
    tokens = engine.model.tokens
    seen = Steps(tokens.piece, tokens.mask, tokens.ends) if steps else None
    with model_errors():
        captions = engine.model.caption(
            picture,
            regions,
            seed=seed,
            batch_size=max(1, len(regions)),  # one batch, in which all captions are under way at once
            watch=None if seen is None else seen.watch,
            **asdict(settings),
        )
    texts = [caption.text for caption in captions]
    pixels = np.asarray(picture)
    page = annotate(pixels, regions, list(enumerate(texts)))
    return Captioned(texts, page, None if seen is None else draw_gif(pixels, regions, seen.captions()))


def _captions(run: Path) -> dict[str, str]:
    """What is said of each region, by key: its caption, or what went wrong, or why it was skipped."""
    said = {}
    for part in sorted((run / "data").glob("part-*.parquet")):
        try:
            rows = pq.read_table(part, columns=["region_key", "status", "caption", "error_message"]).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{part} cannot be read: {error}; the command of the run makes it again") from error
        for row in rows:
            reason = f"skipped: {row['error_message']}" if row["status"] == "skipped" else row["error_message"]
            said[row["region_key"]] = row["caption"] if row["caption"] is not None else reason
    return said


def page_of(entry: ImageEntry, sources: Sources, texts: Sequence[str]) -> Image.Image:
    """A picture with its regions, its name and a text of each region beside it; what cannot be read is told of in
    words."""
    notes: list[tuple[int | None, str]] = [(None, printable(entry.file_name))]
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


def _drawn(file: Path, picture: Path) -> list[tuple[ImageEntry, Sources]]:
    """What a mask picture, or an annotation file, says of a picture. Raises InputError."""
    if PICTURE.fullmatch(file.name):
        place = open_store(str(file.parent), allow_outside=True)  # it was named here, and may be a link
        region = Region(file.stem, 0, None, False, {"file": file.name})
        return [(ImageEntry(picture.name, picture.name, None, None, (region,)), Sources(place, place))]
    manifest, sources = open_with_sources(str(file))
    found = [(entry, sources) for entry in manifest if Path(entry.file_name).name == picture.name]
    if not found:
        raise InputError(f"{file} holds no regions of a picture {picture.name}")
    named = _ending_like({entry.file_name for entry, _ in found}, picture)
    if named is None:
        names = ", ".join(sorted({entry.file_name for entry, _ in found})[:10])
        raise InputError(
            f"{file} holds regions of several pictures called {picture.name}, and {picture} is none of them: "
            f"expected a path that ends in one of {names}"
        )
    return [(entry, sources) for entry, sources in found if entry.file_name == named]


def _ending_like(names: Set[str], picture: Path) -> str | None:
    """Which of several file names is that of a picture: the only one, or else the longest that its path ends in."""
    if len(names) == 1:
        return next(iter(names))
    path = picture.absolute().parts
    parts = {name: Path(name).parts for name in names}
    return max(
        (name for name in names if path[-len(parts[name]) :] == parts[name]),
        key=lambda name: len(parts[name]),
        default=None,
    )


def _masks(file: Path, entry: ImageEntry, sources: Sources, size: Size) -> Iterator[NDArray[np.bool_]]:
    """(height, width) masks of a picture of `size`, for a model that takes no empty ones. Raises InputError."""
    masks = MaskReader(sources, entry)
    for region in entry.regions:
        try:
            pixels = masks.pixels(region, size)
            pack(pixels)
        except RegionError as error:
            raise InputError(f"{file}: region {region.region_id}: {error}") from error
        yield pixels
