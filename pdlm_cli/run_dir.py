"""The directory of a run: who may write it, what is in it, and in which order things become true.

out/data/part-00000.parquet   the only Parquet files, each whole
out/_pdlm/run.json            what was run: settings, versions, hashes
out/_pdlm/done/00000.json     written after its part: rows, sizes, hash
out/_pdlm/stats.json, log.jsonl, lock
out/_pdlm/regions/            regions proposed for the pictures, with --propose
out/report.html               a page over all of it, if asked for (report_page)
out/_SUCCESS                  the run is complete and within its error rate
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pdlm_cli import strict_json
from pdlm_cli.atomic import as_json, publish, remove_files, stage, sync, temporary, write_atomic
from pdlm_cli.errors import ConfigError, OutputError
from pdlm_cli.exports import EXPORTS
from pdlm_cli.lock import LockedFolder
from pdlm_cli.logs import log
from pdlm_cli.markers import Marker, marker_path, part_index, part_path, read_marker, verified_markers
from pdlm_cli.parquet import part_bytes, read_rows
from pdlm_cli.rows import Row
from pdlm_cli.run_paths import RECORDS, facts_path

# What is made from a finished table, and wrong as soon as the table changes.
DERIVED = ("_SUCCESS", "report.html", f"{RECORDS}/stats.json", *EXPORTS.values())
TEMPORARY = (".*.tmp", "data/.*.tmp", f"{RECORDS}/.*.tmp", f"{RECORDS}/done/.*.tmp")


class RunDir(LockedFolder):
    """The output directory of one run.

    earlier: run.json of the run it holds, None if there is none or it is to be overwritten. markers: by part, those
    whose file was found whole, or was written since.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        """Take the directory. Raises LockedError, OutputError, or ConfigError if it holds something else.

        Nothing is changed before `start` or `resume`.
        """
        super().__init__(path, RECORDS, option="--output")
        self._data, self._done = path / "data", self._state / "done"
        self.earlier: dict[str, Any] | None = None
        self.markers: dict[int, Marker] = {}
        with self._unlocked_if_refused():
            if facts_path(path).exists():
                if not overwrite:
                    self.earlier = read_facts(path)
                    self.markers, wrong = verified_markers(path)
                    for complaint in wrong:
                        log.warning("%s; its rows are made again", complaint)
            elif self._data.is_dir() and any(self._data.iterdir()):
                raise ConfigError(f"{self._data} holds files that no run wrote; choose another --output")

    @property
    def log_path(self) -> Path:
        return self._state / "log.jsonl"

    @property
    def regions_path(self) -> Path:
        return self._state / "regions"

    @property
    def has_stats(self) -> bool:
        return (self._state / "stats.json").exists()

    def start(self, facts: Mapping[str, Any], *, proposed: bool = False) -> None:
        """Remove what an earlier run left and write run.json: from here on the directory is this run's.

        proposed: the regions in regions_path are this run's already.
        """
        # In this order, and run.json only replaced: half a removal neither looks like a complete run nor
        # like files that no run wrote.
        remove_files(self.path, *DERIVED, f"{RECORDS}/done/*", f"{RECORDS}/*.jsonl", *TEMPORARY, "data/part-*")
        if not proposed:
            remove_files(self.path, f"{RECORDS}/regions/*")
        self._make_folders()
        self.markers = {}
        write_atomic(facts_path(self.path), as_json(facts))

    def resume(self, facts: Mapping[str, Any]) -> None:
        """Keep what `markers` vouch for and remove the rest; replace run.json, whose run goes on."""
        remove_files(self.path, *DERIVED)
        self._make_folders()
        self.tidy()
        write_atomic(facts_path(self.path), as_json(facts))

    def tidy(self) -> None:
        """Finish commits that were killed half-way, and remove what no marker vouches for."""
        for index, marker in self.markers.items():
            # Killed between the renames of a part and of its marker: the marker lies ready under its temporary name.
            if read_marker(marker_path(self.path, index)) != marker:
                publish(marker_path(self.path, index))
        remove_files(self.path, *TEMPORARY)
        for file in (*self._data.glob("part-*"), *self._done.iterdir()):
            if part_index(file) not in self.markers:
                remove_files(self.path, str(file.relative_to(self.path)))

    def commit(self, index: int, rows: Sequence[Row], metadata: Mapping[str, str], *, complete: bool) -> Path:
        """Write part `index`, then its marker. complete: False if the run stopped before the part's end.

        The marker is on disk, under its temporary name, before the part replaces an earlier one: wherever the process
        is killed, one of the two markers is that of the file which is there.
        """
        path, described = part_path(self.path, index), marker_path(self.path, index)
        data = part_bytes(rows, metadata)
        marker = Marker.of(path.name, rows, data, complete=complete)
        try:
            stage(path, data)
            try:
                stage(described, as_json(marker.to_json()))
                sync(self._done)
            except OutputError:
                temporary(path).unlink()
                raise
            publish(path)
            publish(described)
        except OutputError as error:
            raise OutputError(f"{error}; what was committed before is intact") from error
        self.markers[index] = marker
        return path

    def rows(self, index: int) -> list[Row]:
        """Rows of a part that `markers` vouch for."""
        return read_rows(part_path(self.path, index))

    def finish(self, stats: Mapping[str, Any] | None, *, success: bool) -> None:
        """Write stats.json, and _SUCCESS when all that was asked for is there. stats: None keeps those there are."""
        if stats is not None:
            write_atomic(self._state / "stats.json", as_json(stats))
        if success:
            write_atomic(self.path / "_SUCCESS", b"")
        else:
            remove_files(self.path, "_SUCCESS")

    def _make_folders(self) -> None:
        try:
            self._data.mkdir(exist_ok=True)
            self._done.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror}") from error


def read_facts(path: Path) -> dict[str, Any]:
    """run.json of the run in a directory. Raises ConfigError if there is none, or it is damaged."""
    file = facts_path(path)
    try:
        facts = strict_json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path} holds no run of pdlm caption: there is no {file}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}; pass --overwrite to replace the run") from error
    if not isinstance(facts, dict) or not {"run_id", "config", "plan", "hashes"} <= facts.keys():
        raise ConfigError(f"{file} is of another version of pdlm; pass --overwrite to replace the run")
    return facts
