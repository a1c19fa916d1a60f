"""What a run has done so far, in numbers; owns the exit code."""

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from pdlm_cli.markers import Marker
from pdlm_cli.rows import Row
from pdlm_cli.stdout import printable

EXAMPLES = 5


class Report:
    """Counts of rows by status and code, and where the time went.

    ok, errors, skipped, images: of the whole table once `table` was called, of this run's own rows before. made: rows
    of this run, to which passes, tokens and times belong. captions: of them; empty: of these, those without a letter.
    """

    def __init__(
        self, *, max_error_rate: float, timed: bool = True, finished_before: bool = False, incremental: bool = False
    ) -> None:
        """max_error_rate: share of error rows, 0 to 1, up to which the run still counts as a success. timed: False for
        rows that other runs have made, each in a time of its own. finished_before: nothing was left for this call.
        incremental: images are left out because earlier runs have done them, and they are where they were."""
        self.max_error_rate = max_error_rate
        self.timed = timed and not finished_before
        self.finished_before = finished_before
        self.incremental = incremental
        self.ok = 0
        self.errors: Counter[str] = Counter()
        self.skipped = 0
        self.images = 0
        self.made = self.captions = self.empty = 0
        self.passes = 0
        self.tokens = 0
        self.denoise_steps = 0  # of all captions together
        self.milliseconds = {"encode": 0.0, "decode": 0.0}
        self.incidents: Mapping[str, int] = {}  # of the engine
        self.busy: Sequence[tuple[str, float]] = ()  # of the engine
        self.examples: list[Row] = []
        self.stop_signal: int | None = None
        self._started = time.monotonic()
        self.seconds = 0.0

    def image(self, rows: Sequence[Row], *, kept: Collection[str] = ()) -> None:
        """Count the finished rows of one image. kept: keys of those that an earlier run has made."""
        self.images += 1
        for row in rows:
            made = row.region_key not in kept
            self.made += made
            if row.error_code is not None:
                self.errors[row.error_code] += 1
            elif row.status == "skipped":
                self.skipped += 1
            else:
                self.ok += 1
                self.captions += made
                self.empty += made and not (row.caption or "").strip()
                self.tokens += made * (row.tokens_generated or 0)
                self.denoise_steps += made * (row.denoise_steps or 0)
                if len(self.examples) < EXAMPLES:
                    self.examples.append(row)
        self.seconds = time.monotonic() - self._started

    def table(self, markers: Iterable[Marker]) -> None:
        """Count the rows of the whole table from now on. markers: of all its parts."""
        self.ok, self.skipped, self.images, self.errors = 0, 0, 0, Counter()
        for marker in markers:
            self.ok += marker.ok
            self.skipped += marker.skipped
            self.images += marker.images
            self.errors.update(marker.errors)

    def captioned(self, *, encode_ms: float, decode_ms: float) -> None:
        """Count a pass that has captions, and its share of the time of those that ran with it."""
        self.passes += 1
        self.milliseconds["encode"] += encode_ms
        self.milliseconds["decode"] += decode_ms

    def merged(self, rows: Sequence[Row]) -> None:
        """Count the rows of one image that another run has made, and the passes that they came from."""
        self.image(rows)
        self.passes += len({row.pass_id for row in rows if row.status == "ok"})

    @property
    def rows(self) -> int:
        return self.ok + self.errors.total() + self.skipped

    def counted(self) -> str:
        """What the table holds, in words."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.rows} rows, {self.errors.total()} of them errors{skipped}"

    @property
    def error_rate(self) -> float:
        return self.errors.total() / self.rows if self.rows else 0.0

    def idle(self) -> list[tuple[str, float, float]]:
        """Name of each device, the seconds that it waited for input, and their share of the run's."""
        waited = [(name, max(0.0, self.seconds - busy_s)) for name, busy_s in self.busy]
        return [(name, seconds, seconds / self.seconds) for name, seconds in waited if self.seconds]

    @property
    def no_image_found(self) -> bool:
        """Every single image is missing: the wrong folder, not a few lost files that are all that is left to do."""
        return not self.incremental and self.rows > 0 and self.errors["missing_image"] == self.rows

    @property
    def exit_code(self) -> int:
        if self.stop_signal is not None:
            return 128 + self.stop_signal
        if self.no_image_found:
            return 4
        return 3 if self.error_rate > self.max_error_rate else 0

    def summary(self) -> dict[str, Any]:
        """For stats.json and --json; times in seconds unless the name says milliseconds, None if not timed."""
        return {
            "exit_code": self.exit_code,
            "interrupted": self.stop_signal is not None,
            "finished_before": self.finished_before,
            "images": self.images,
            "rows": self.rows,
            "ok": self.ok,
            "errors": dict(sorted(self.errors.items())),
            "skipped": self.skipped,
            "error_rate": round(self.error_rate, 6),
            "max_error_rate": self.max_error_rate,
            "rows_made": self.made,
            "passes": self.passes,
            "incidents": dict(self.incidents),
            "tokens_generated": self.tokens,
            "tokens_per_forward": round(self.tokens / self.denoise_steps, 3) if self.denoise_steps else None,
            "seconds": round(self.seconds, 3) if self.timed else None,
            "regions_per_second": round(self.made / self.seconds, 3) if self.timed and self.seconds else None,
            "device_idle": [
                {"device": name, "seconds": round(seconds, 3), "share": round(share, 4)}
                for name, seconds, share in self.idle()
            ],
            "milliseconds": (
                {name: round(spent, 3) for name, spent in self.milliseconds.items()} if self.timed else None
            ),
        }

    def to_json(self) -> str:
        """The summary on one line."""
        return json.dumps(self.summary())

    def render(self) -> RenderableType:
        """The tables shown at the end. Captions enter as plain text, never as markup."""
        title = "Finished already" if self.finished_before else "Run"
        numbers = Table("regions", "", title=title, show_header=False, min_width=20)
        numbers.add_row("captions", str(self.ok))
        for code, count in sorted(self.errors.items()):
            numbers.add_row(f"errors: {code}", str(count))
        if self.skipped:
            numbers.add_row("skipped", str(self.skipped))
        numbers.add_row("images", str(self.images))
        if self.finished_before:
            return numbers
        if self.made != self.rows:
            numbers.add_row("rows of this call", str(self.made))
        numbers.add_row("passes", str(self.passes))
        for name, count in self.incidents.items():
            if count:
                numbers.add_row(name.replace("_", " "), str(count))
        if self.denoise_steps:
            numbers.add_row("tokens a step", f"{self.tokens / self.denoise_steps:.2f}")
        if self.timed:
            numbers.add_row("seconds", f"{self.seconds:.1f}")
        if self.timed and self.seconds:
            numbers.add_row("regions/s", f"{self.made / self.seconds:.2f}")
        for name, seconds, share in self.idle():
            numbers.add_row(f"{name} idle", f"{seconds:.1f} s, {share:.0%}")
        if not self.examples:
            return numbers
        captions = Table(
            "image", "region", Column("caption", overflow="fold"), title=f"First {len(self.examples)} captions"
        )
        for row in self.examples:
            captions.add_row(*(_plain(cell) for cell in (row.image_path, row.region_id, row.caption or "")))
        return Group(captions, numbers)


def told_of_empty(empty: int, captions: int) -> str:
    """What to say of captions without a letter: not an error, for a model may see nothing worth a word."""
    hint = "; has this checkpoint learnt to caption regions? --model names another" if empty == captions else ""
    return f"empty captions: {empty} of {captions}{hint}"


def _plain(text: str) -> Text:
    """Text that can neither style the terminal nor move its cursor."""
    return Text(printable(text))
