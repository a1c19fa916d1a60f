"""The folder of a set of scenes: whose it is, what is done, and in which order things become true.

out/images/*.png             unless Parquet is the only format
out/data/part-*.parquet      with Parquet
out/scenes.json, coco.json, annotations.json, qa.json, class_names.json
out/_scenes/run.json         what was asked for
out/_scenes/records/*.json   what is drawn, a file a shard, written after its pictures; gone when all is done
out/_scenes/stats.json       written last
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pdlm_cli.atomic import remove_files, write_atomic
from pdlm_cli.data_engine.records import SceneRecord
from pdlm_cli.errors import ConfigError
from pdlm_cli.lock import LockedFolder

_OURS = (
    "_scenes/stats.json",
    "_scenes/records/*",
    "data/*part-*",
    "images/*.png",
    *(f"{name}.json" for name in ("scenes", "coco", "annotations", "qa", "class_names")),
)


class SceneDir(LockedFolder):
    """The folder of one set of scenes, which workers write pictures and records into."""

    def __init__(self, path: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        """Take the folder, and go on where an earlier run with the same settings stopped.

        Raises LockedError, OutputError, or ConfigError if it holds something else.
        """
        super().__init__(path, "_scenes", option="OUT", inside=("records",))
        with self._unlocked_if_refused():
            self._begin(settings, overwrite)

    @property
    def complete(self) -> bool:
        return (self._state / "stats.json").exists()

    def done(self, shard: int) -> bool:
        return _record_path(self.path, shard).exists()

    def stats(self) -> dict[str, Any]:
        """What `finish` wrote."""
        found: dict[str, Any] = json.loads((self._state / "stats.json").read_bytes())
        return found

    def records(self, shards: int) -> Iterator[SceneRecord]:
        """All records, in order, a shard in memory at a time; every shard must be done."""
        for shard in range(shards):
            for record in json.loads(_record_path(self.path, shard).read_bytes()):
                yield SceneRecord(**record)

    def finish(self, files: Mapping[str, bytes], stats: Mapping[str, Any]) -> None:
        """Write the files that describe all scenes, then what says that they are complete."""
        for name, content in files.items():
            write_atomic(self.path / name, content)
        write_atomic(self._state / "stats.json", _json(stats))
        remove_files(self.path, "_scenes/records/*")

    def _refuse_strangers(self) -> None:
        if self.path.is_dir() and any(self.path.iterdir()) and not self._state.is_dir():
            raise ConfigError(f"{self.path} holds files that `pdlm data scenes` did not write; choose another folder")

    def _begin(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        path = self._state / "run.json"
        if path.exists() and not overwrite:
            earlier, now = json.loads(path.read_bytes()), json.loads(_json(settings))
            if earlier != now:
                found = (name for name in now if earlier.get(name) != now[name])
                different = "; ".join(f"{name} was {earlier.get(name)}, now it is {now[name]}" for name in found)
                raise ConfigError(
                    f"{self.path} holds scenes of other settings: {different}. Pass --overwrite to replace them, or "
                    "choose another folder"
                )
            return
        remove_files(self.path, *_OURS)
        write_atomic(path, _json(settings))


def write_records(folder: Path, shard: int, records: list[SceneRecord]) -> None:
    """From here on the shard counts as done, so its pictures must be there. Raises OutputError."""
    # Not `asdict`, which copies everything that is in there.
    plain = [{field.name: getattr(record, field.name) for field in fields(record)} for record in records]
    write_atomic(_record_path(folder, shard), json.dumps(plain).encode())


def _record_path(folder: Path, shard: int) -> Path:
    return folder / "_scenes" / "records" / f"{shard:05d}.json"


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
