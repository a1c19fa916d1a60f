"""Batches of passes through the model, and rows out in input order."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pdlm_cli.engine import Engine, PassFailure, PassResult
from pdlm_cli.errors import RegionError
from pdlm_cli.preparation import ImageWork, PassWork
from pdlm_cli.progress import Progress
from pdlm_cli.report import Report
from pdlm_cli.rows import Row

if TYPE_CHECKING:
    from model.decode import PassCaptions

Batch = list[tuple[ImageWork, PassWork]]


def caption_images(
    images: Iterable[ImageWork],
    engine: Engine,
    *,
    batch_size: int,
    report: Report,
    progress: Progress,
    stopped: Callable[[], bool],
) -> Generator[tuple[int, list[Row]], None, None]:
    """The part of each image and its finished rows, in the order the images come in.

    Batches are filled in that order too, batch_size passes each, over images but not over parts; so what is computed
    together depends on the input alone, and not on the parts that an earlier run has made. As many of them are under
    way as the engine takes, of several parts where one ends. Rows that an earlier run has made take their places in
    batches too, but stay as they are. Once stopped() is true, the model is not called again and images that still wait
    for a pass are dropped.
    """
    unfinished: deque[ImageWork] = deque()
    with ThreadPoolExecutor(engine.parallel, thread_name_prefix="caption") as pool:
        calls = _Calls(pool, engine, report, progress)
        try:
            for _ in _submit(images, calls, unfinished, batch_size, stopped):
                yield from _take_finished(unfinished, report)
            calls.finish()
        except Exception:
            calls.save()
            yield from _take_finished(unfinished, report)
            raise
        yield from _take_finished(unfinished, report)


def _submit(
    images: Iterable[ImageWork],
    calls: "_Calls",
    unfinished: deque[ImageWork],
    batch_size: int,
    stopped: Callable[[], bool],
) -> Iterator[None]:
    """Begin a call for every batch. Comes back after each image and each call: others may be done by then."""
    batch: Batch = []
    for image in images:
        if stopped():
            return
        if batch and batch[0][0].part != image.part:
            if not _begin(batch, calls, stopped):
                return
            batch = []
            yield
        unfinished.append(image)
        calls.progress.advance(sum(row is not None for row in image.rows))
        for item in image.passes:
            batch.append((image, item))
            if len(batch) == batch_size:
                if not _begin(batch, calls, stopped):
                    return
                batch = []
                yield
        yield
    if batch:
        _begin(batch, calls, stopped)


def _begin(batch: Batch, calls: "_Calls", stopped: Callable[[], bool]) -> bool:
    """Begin a call for a batch, once there is room, if any of it is missing. False if the run was stopped before."""
    if not _missing(batch):
        return True
    calls.wait_for_room()
    if stopped():
        return False
    calls.begin(batch)
    return True


class _Calls:
    """Model calls under way, each in a thread; what they give is entered by the thread that asks for it."""

    def __init__(self, pool: ThreadPoolExecutor, engine: Engine, report: Report, progress: Progress) -> None:
        self._pool, self._engine, self._report, self.progress = pool, engine, report, progress
        self._running: dict[Future[tuple[list[PassResult], float]], Batch] = {}

    def begin(self, batch: Batch) -> None:
        assert len(self._running) < self._engine.parallel
        self._running[self._pool.submit(self._call, batch)] = batch

    def wait_for_room(self) -> None:
        """Until another call may begin. Raises what a call has raised."""
        if len(self._running) == self._engine.parallel:
            self._collect()

    def finish(self) -> None:
        """Until no call is under way. Raises what a call has raised."""
        while self._running:
            self._collect()

    def save(self) -> None:
        """Enter what calls under way still give, after another has failed: they are waited for in any case."""
        for call in wait(self._running).done:
            if call.exception() is None:
                _enter(self._running[call], *call.result(), self._report, self.progress)

    def _call(self, batch: Batch) -> tuple[list[PassResult], float]:
        started = time.perf_counter()
        results = self._engine.caption([item.prepared for _, item in batch])
        return results, 1000 * (time.perf_counter() - started)

    def _collect(self) -> None:
        """Enter what is done, one call at least."""
        for call in wait(self._running, return_when=FIRST_COMPLETED).done:
            batch = self._running.pop(call)
            _enter(batch, *call.result(), self._report, self.progress)


def _take_finished(unfinished: deque[ImageWork], report: Report) -> Iterator[tuple[int, list[Row]]]:
    while unfinished and unfinished[0].finished:
        image = unfinished.popleft()
        rows = [row for row in image.rows if row is not None]
        report.image(rows, kept=image.kept)
        yield image.part, rows


def _missing(batch: Batch) -> int:
    """Rows of a batch that no earlier run has made."""
    return sum(image.rows[index] is None for image, item in batch for index in item.members)


def _enter(batch: Batch, results: list[PassResult], batch_ms: float, report: Report, progress: Progress) -> None:
    """Fill in the rows of the regions of one model call."""
    assert len(results) == len(batch)
    regions, missing = sum(len(item.members) for _, item in batch), _missing(batch)
    for (image, item), result in zip(batch, results, strict=True):
        if isinstance(result, PassFailure):
            _fail_rows(image, item, result)
        else:
            _fill_rows(image, item, result, pass_ms=batch_ms, pass_share_ms=batch_ms / regions)
            report.captioned(encode_ms=result.encode_share_ms, decode_ms=result.decode_share_ms)
        # Footprints and tiles of a finished pass are not needed while the rest of a large image is captioned.
        item.prepared = None
    progress.advance(missing)


def _fail_rows(image: ImageWork, item: PassWork, failure: PassFailure) -> None:
    for index in item.members:
        if image.rows[index] is not None:
            continue
        image.known[index] |= {"pass_id": item.plan.pass_id, "pass_size": len(item.members)}
        image.fail(index, RegionError(failure.code, failure.message))


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
