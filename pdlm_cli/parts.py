"""The parts of a run, one after the other: their images through the model, what comes back into the directory."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby

from pdlm_cli.captioning import caption_images
from pdlm_cli.engine import Engine
from pdlm_cli.errors import OutputError
from pdlm_cli.logs import log
from pdlm_cli.manifest import Manifest
from pdlm_cli.passes import plan_parts
from pdlm_cli.preparation import ImageWork, Preparation, prepare, run_ahead
from pdlm_cli.progress import Progress
from pdlm_cli.regions import ImageEntry, region_key
from pdlm_cli.report import Report
from pdlm_cli.rows import Row
from pdlm_cli.run_dir import RunDir
from pdlm_cli.signals import StopSignals

SHOWN_ERRORS = 10

PlannedImage = tuple[int, ImageEntry]  # the part it belongs to, and what is to be captioned of it


@dataclass(frozen=True)
class PartRunner:
    """Captions images into the parts of a run directory, until a stop signal comes.

    metadata: of each part. batch_size: passes a model call. workers: threads that prepare images.
    """

    engine: Engine
    out: RunDir
    metadata: Mapping[str, str]
    batch_size: int
    workers: int
    report: Report
    progress: Progress
    stop: StopSignals

    @property
    def stopped(self) -> bool:
        return self.stop.received is not None

    def run(self, images: Iterable[PlannedImage], how: Preparation) -> None:
        """Caption images, in the order of their parts, and commit every part at its end.

        Devices go on with the next part while the last calls of one are under way. Rows that a part has already stay,
        unless images captions the same regions again. Whatever stops this, what is finished is committed first. Raises
        DeviceError, OutputError.
        """

        def work(item: PlannedImage) -> ImageWork:
            part, entry = item
            return prepare(entry, part, self.engine, how)

        part: int | None = None
        rows: list[Row] = []
        with (
            closing(run_ahead(images, work, self.workers)) as prepared,
            closing(self._captioned(prepared)) as captioned,
        ):
            try:
                for own, finished in captioned:
                    if own != part:
                        self._commit(part, rows, ended=True)
                        part, rows = own, []
                    rows += finished
                    self._log_errors(finished, how)
            except OutputError:
                raise  # of a commit, and so would be the next
            except BaseException:
                self._commit(part, rows, ended=False)
                raise
            self._commit(part, rows, ended=not self.stopped)

    def _captioned(self, images: Iterable[ImageWork]) -> Generator[tuple[int, list[Row]], None, None]:
        return caption_images(
            images,
            self.engine,
            batch_size=self.batch_size,
            report=self.report,
            progress=self.progress,
            stopped=lambda: self.stopped,
        )

    def _commit(self, part: int | None, rows: Sequence[Row], *, ended: bool) -> None:
        """part: None before the first."""
        if part is None:
            return
        earlier = self.out.markers.get(part)
        complete = ended or (earlier is not None and earlier.complete)
        if not rows and not ended:
            return
        merged = merge(self.out.rows(part) if earlier is not None else [], rows)
        path = self.out.commit(part, merged, self.metadata, complete=complete)
        facts = {"event": "part", "rows": len(merged), "complete": complete}
        log.info("wrote %s, %d rows", path, len(merged), extra={"facts": facts})

    def _log_errors(self, rows: Sequence[Row], how: Preparation) -> None:
        """The first few error rows, so that a wrong folder shows at once and a million of them floods nothing."""
        errors = [row for row in rows if row.status == "error" and row.region_key not in how.kept]
        before = self.report.errors.total() - len(errors)
        for row in errors[: max(0, SHOWN_ERRORS - before)]:
            log.warning(
                "region %s of image %s: %s: %s",
                row.region_id,
                row.image_id,
                row.error_code,
                row.error_message,
                extra={"facts": {"event": "error_row", "error_code": row.error_code, "region_key": row.region_key}},
            )
        if before < SHOWN_ERRORS <= before + len(errors):
            log.warning("further error rows are only in the table")


def merge(earlier: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """The rows of a part in input order: earlier ones, or new ones of the same region, then the other new ones.

    Parts grow from their beginning, so new regions lie behind all earlier ones.
    """
    by_key = {row.region_key: row for row in new}
    return [by_key.pop(row.region_key, row) for row in earlier] + list(by_key.values())


def missing_images(manifest: Manifest, part_rows: int, out: RunDir) -> Iterator[PlannedImage]:
    """The images of all parts that are not complete, those of which a part has rows already included."""
    for part, entry in plan_parts(manifest, part_rows):
        if part not in out.markers or not out.markers[part].complete:
            yield part, entry


def kept_rows(out: RunDir) -> dict[str, Row]:
    """The rows of incomplete parts by region key: there is one such part at most."""
    unfinished = [index for index, marker in out.markers.items() if not marker.complete]
    return {row.region_key: row for index in unfinished for row in out.rows(index)}


def failed_images(manifest: Manifest, part_rows: int, out: RunDir, attempt: int) -> Iterator[PlannedImage]:
    """The images that have error rows of an attempt before `attempt`, with the regions of these rows alone."""
    for part, images in groupby(plan_parts(manifest, part_rows), key=lambda item: item[0]):
        failed = failed_keys(out, part, attempt)
        for _, entry in images if failed else ():
            regions = tuple(region for region in entry.regions if region_key(entry, region) in failed)
            if regions:
                yield part, replace(entry, regions=regions)


def failed_keys(out: RunDir, part: int, attempt: int) -> set[str]:
    """Keys of the error rows of a part, of an attempt before `attempt`."""
    marker = out.markers.get(part)
    if marker is None or not marker.errors:
        return set()
    return {row.region_key for row in out.rows(part) if row.status == "error" and row.attempt < attempt}
