"""Batches of passes through the model, and rows out in input order."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pdlm_cli.engine import Engine
from pdlm_cli.preparation import ImageWork, PassWork
from pdlm_cli.progress import Progress
from pdlm_cli.report import Report
from pdlm_cli.rows import Row

if TYPE_CHECKING:
    from model.decode import PassCaptions


def caption_images(
    images: Iterable[ImageWork],
    engine: Engine,
    *,
    batch_size: int,
    report: Report,
    progress: Progress,
    stopped: Callable[[], bool],
) -> Iterator[list[Row]]:
    """The finished rows of each image, in the order the images come in.

    Batches are filled in that order too, batch_size passes each, over image boundaries; so what is computed
    together depends on the input alone. Rows that an earlier run has made take their places in batches too, but stay
    as they are. Once stopped() is true, the model is not called again and images that still wait for a pass are
    dropped.
    """
    unfinished: deque[ImageWork] = deque()
    batch: list[tuple[ImageWork, PassWork]] = []
    for image in images:
        if stopped():
            return
        unfinished.append(image)
        progress.advance(sum(row is not None for row in image.rows))
        for item in image.passes:
            batch.append((image, item))
            if len(batch) == batch_size:
                _caption_missing(batch, engine, report, progress)
                batch = []
                if stopped():
                    break
        yield from _take_finished(unfinished, report)
    if batch and not stopped():
        _caption_missing(batch, engine, report, progress)
        yield from _take_finished(unfinished, report)


def _take_finished(unfinished: deque[ImageWork], report: Report) -> Iterator[list[Row]]:
    while unfinished and unfinished[0].finished:
        image = unfinished.popleft()
        rows = [row for row in image.rows if row is not None]
        report.image(rows, kept=image.kept)
        yield rows


def _caption_missing(
    batch: list[tuple[ImageWork, PassWork]], engine: Engine, report: Report, progress: Progress
) -> None:
    """One model call, unless an earlier run has made all rows of the batch."""
    if any(image.rows[index] is None for image, item in batch for index in item.members):
        _caption_batch(batch, engine, report, progress)


def _caption_batch(batch: list[tuple[ImageWork, PassWork]], engine: Engine, report: Report, progress: Progress) -> None:
    """One model call; fills in the rows of its regions."""
    missing = sum(image.rows[index] is None for image, item in batch for index in item.members)
    started = time.perf_counter()
    results = engine.caption([item.prepared for _, item in batch])
    batch_ms = 1000 * (time.perf_counter() - started)
    assert len(results) == len(batch)
    regions = sum(len(item.members) for _, item in batch)
    for (image, item), result in zip(batch, results, strict=True):
        _fill_rows(image, item, result, pass_ms=batch_ms, pass_share_ms=batch_ms / regions)
    # The engine's times are those of the whole batch, on each of its results.
    report.batch(len(batch), encode_ms=results[0].encode_ms, decode_ms=results[0].decode_ms)
    progress.advance(missing)


def _fill_rows(
    image: ImageWork, item: PassWork, result: "PassCaptions", *, pass_ms: float, pass_share_ms: float
) -> None:
    for index, caption, slot in zip(item.members, result.captions, result.slots, strict=True):
        if image.rows[index] is not None:
            continue
        image.rows[index] = Row(
            **image.known[index],
            caption=caption.text,
            status="ok",
            finish_reason=caption.finish_reason,
            tokens_generated=caption.tokens_generated,
            denoise_steps=caption.denoise_steps,
            pass_id=item.plan.pass_id,
            pass_slot=slot,
            pass_size=len(item.members),
            preprocess_ms=item.preprocess_ms,
            encode_ms=result.encode_ms,
            decode_ms=result.decode_ms,
            pass_ms=pass_ms,
            pass_share_ms=pass_share_ms,
            mean_confidence=caption.mean_confidence,
            finished_at=datetime.now(UTC),
        )
    # Footprints and tiles of a finished pass are not needed while the rest of a large image is captioned.
    item.prepared = None
