"""From an entry of the input to passes ready for the model, in worker threads ahead of it."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from model.passes import region_seed
from pdlm_cli.engine import Engine
from pdlm_cli.errors import RegionError
from pdlm_cli.masks import Mask, pack
from pdlm_cli.passes import Pass, plan_passes
from pdlm_cli.regions import ImageEntry, Region, mask_file, mask_sha256, region_key
from pdlm_cli.rows import Row
from pdlm_cli.sources import MaskReader, Sources

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class PassWork:
    """A pass ready for the model. members: indices into the entry's regions, in the order of its masks."""

    plan: Pass
    members: tuple[int, ...]
    prepared: Any
    preprocess_ms: float


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How the images of a run are prepared.

    sources: of pictures and masks. seed: of the run. kept: rows by region key that an earlier call has made: they stay,
    and are prepared again only to be where they were in their passes and batches. attempt: the number that new rows
    get. min_area: pixels; regions whose mask has fewer are skipped. skip_crowd: so are those that the input calls a
    crowd.
    """

    sources: Sources
    seed: int
    kept: Mapping[str, Row] = field(default_factory=dict)
    attempt: int = 1
    min_area: int = 0
    skip_crowd: bool = False

    def reason_to_skip(self, region: Region, mask: Mask) -> str | None:
        if self.skip_crowd and region.crowd:
            return "a crowd, which --skip-crowd leaves out"
        if mask.area < self.min_area:
            return f"{mask.area} pixels, fewer than --min-area {self.min_area}"
        return None


@dataclass
class ImageWork:
    """An image on its way through the pipeline.

    known: columns known so far, one dict a region. rows: finished rows, None where a caption is to come. kept: region
    keys of those that are of an earlier call.
    """

    entry: ImageEntry
    part: int
    known: list[dict[str, Any]]
    rows: list[Row | None]
    passes: list[PassWork] = field(default_factory=list)
    kept: frozenset[str] = frozenset()

    @property
    def finished(self) -> bool:
        return None not in self.rows

    def keep(self, rows: Mapping[str, Row]) -> None:
        """Take over the rows, by region key, that an earlier call has made."""
        self.rows = [rows.get(columns["region_key"]) for columns in self.known]
        self.kept = frozenset(row.region_key for row in self.rows if row is not None)

    def left_out(self, index: int) -> bool:
        """Whether region `index` failed or was skipped in an earlier call before it was in a pass: then it is in none
        now."""
        row = self.rows[index]
        return row is not None and row.pass_id is None

    def fail(self, index: int, error: RegionError) -> None:
        """Make region `index` an error row, unless it has a row already."""
        self._end(index, status="error", error_code=error.code, error_message=str(error))

    def skip(self, index: int, reason: str) -> None:
        """Make region `index` a skipped row, unless it has a row already."""
        self._end(index, status="skipped", error_message=reason)

    def _end(self, index: int, **columns: Any) -> None:
        if self.rows[index] is None:
            self.rows[index] = Row(**self.known[index], **columns, finished_at=datetime.now(UTC))


def prepare(entry: ImageEntry, part: int, engine: Engine, how: Preparation) -> ImageWork:
    """Load the picture once, decode the masks, and prepare its passes; what cannot be is an error row, what is not to
    be a skipped one."""
    work = begin(entry, part, how.attempt)
    work.keep(how.kept)
    known = work.known
    started = time.perf_counter()
    try:
        if entry.refused is not None:
            raise RegionError(*entry.refused)
        picture, image_sha256 = how.sources.picture_with_sha256(entry)
    except RegionError as error:
        for i in range(len(known)):
            work.fail(i, error)
        return work
    loaded = time.perf_counter()

    usable: list[tuple[int, Mask]] = []
    masks = MaskReader(how.sources, entry)
    for i, region in enumerate(entry.regions):
        known[i] |= {"image_sha256": image_sha256, "image_width": picture.width, "image_height": picture.height}
        known[i]["load_ms"] = 1000 * (loaded - started)
        if work.left_out(i):
            continue
        try:
            mask = pack(masks.pixels(region, picture.size))
        except RegionError as error:
            work.fail(i, error)
            continue
        known[i] |= {"mask_area_px": mask.area, "bbox_xywh": mask.bbox_xywh}
        if mask_file(region) is not None:  # by its content, which is known only now
            known[i]["mask_sha256"] = masks.sha256(region)
        if (reason := how.reason_to_skip(region, mask)) is not None:
            work.skip(i, reason)
            continue
        usable.append((i, mask))
    if usable:
        add_passes(work, picture, usable, engine, how.seed, started=loaded)
    return work


def begin(entry: ImageEntry, part: int, attempt: int = 1) -> ImageWork:
    """An image of which nothing is known yet but what the input says."""
    known = [_identity(entry, region, region_key(entry, region), attempt) for region in entry.regions]
    return ImageWork(entry, part, known, [None] * len(known))


def add_passes(
    work: ImageWork,
    picture: Image.Image,
    usable: Sequence[tuple[int, Mask]],
    engine: Engine,
    seed: int,
    *,
    started: float,
) -> None:
    """Plan the passes of an image and prepare them.

    usable: regions, as indices, with their masks; at least one. started: time.perf_counter() when there was a picture.
    """
    keys = [work.known[i]["region_key"] for i, _ in usable]
    prompts = [work.entry.regions[i].prompt or None for i, _ in usable]
    plans = plan_passes(keys, [mask for _, mask in usable], prompts, engine.max_regions)
    image = engine.prepare_image(picture)
    shared_ms = 1000 * (time.perf_counter() - started) / len(plans)
    for plan in plans:
        started = time.perf_counter()
        members = tuple(usable[i][0] for i in plan.members)
        pixels = np.stack([usable[i][1].pixels() for i in plan.members])
        seeds = [region_seed(seed, keys[i]) for i in plan.members]
        prepared = engine.prepare_pass(image, pixels, seeds, plan.prompt)
        own_ms = 1000 * (time.perf_counter() - started)
        work.passes.append(PassWork(plan, members, prepared, shared_ms + own_ms))


def run_ahead(items: Iterable[Item], work: Callable[[Item], Result], workers: int) -> Generator[Result, None, None]:
    """`work` of each item in input order, computed by threads, 2 x workers items ahead at most."""
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _identity(entry: ImageEntry, region: Region, key: str, attempt: int) -> dict[str, Any]:
    return {
        "region_key": key,
        "image_id": entry.image_id,
        "region_id": region.region_id,
        "image_path": entry.file_name,
        "category": region.category,
        "prompt": region.prompt or None,
        "source_index": region.source_index,
        "mask_sha256": mask_sha256(region),
        "attempt": attempt,
    }
