"""Training files as records that can be read in any order: JSON, JSON lines, Parquet.

A record is a dict as formats.md's training JSON has it: a picture (`image`, `image_file` or `image_path`: a file name,
a `data:...;base64,` text, or, in Parquet, bytes or a struct of bytes and path) with `mask_rles` and `captions`, or
`annotations` of `caption` and `segmentation`, or, for chat, `conversations`, about one picture, a list of them (also
under `images`) or none.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pdlm_cli import strict_json
from pdlm_cli.errors import InputError
from pdlm_cli.training.conversations import first_shown, turn_pairs, without_marks
from pdlm_cli.training.drawn import DrawnRecords
from pdlm_cli.training.job_data import Source

TEXT_COLUMNS = ("captions", "annotations", "conversations")


class Records(Protocol):
    """regions: (N,) regions, or questions, of each record. sizes: (N, 2) width, height of each picture in pixels, None
    where that takes reading them. blocks: see order.Extent."""

    @property
    def regions(self) -> NDArray[np.int64]: ...

    @property
    def sizes(self) -> NDArray[np.int64] | None: ...

    @property
    def blocks(self) -> NDArray[np.int64] | None: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def texts(self) -> Iterator[str]:
        """Every caption, or question and answer, in order."""


def open_records(source: Source, *, held_blocks: int) -> Records:
    """held_blocks: row groups of Parquet that are kept in memory. Raises InputError if the path is not readable or
    holds no record."""
    if source.scenes is not None:
        return DrawnRecords(source.scenes, source.kind)
    assert source.path is not None
    path = Path(source.path)
    try:
        if path.is_dir() or path.suffix == ".parquet":
            records: Records = ParquetRecords(path, source.kind, held_blocks)
        else:
            records = JsonRecords(path, source.kind)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: {error}") from error
    if not records.regions.sum():
        wanted = "captions of regions" if source.kind == "regions" else "conversations"
        raise InputError(f"{path}: expected {wanted}, found none")
    return records


class JsonRecords:
    """A list of records, or one a line, held as text: a tenth of the memory of the objects it stands for."""

    blocks = None
    sizes = None

    def __init__(self, path: Path, kind: str) -> None:
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            values = [strict_json.loads(line) for line in data.splitlines() if line.strip()]
        else:
            values = strict_json.loads(data)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise ValueError("expected a list of records, one object a picture")
        self._kind = kind
        self._packed = [json.dumps(value).encode() for value in values]
        self.regions = np.array([count_regions(value, kind) for value in values], dtype=np.int64)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self._packed[index])
        return record

    def texts(self) -> Iterator[str]:
        for i in range(len(self._packed)):
            yield from record_texts(self[i], self._kind)


class ParquetRecords:
    """One file or a folder of them; the row groups last read are kept."""

    sizes = None

    def __init__(self, path: Path, kind: str, held: int) -> None:
        self._files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not self._files:
            raise ValueError("expected a file of name *.parquet in the folder, found none")
        self._kind, self._held = kind, held
        self._groups: list[tuple[Path, int]] = []  # of each block: file, row group in it
        self._cache: dict[int, pa.Table] = {}
        counts, blocks = [], []
        for file in self._files:
            for values in self._light_groups(file):
                rows = [count_regions(row, kind) for row in values]
                blocks += [len(self._groups)] * len(rows)
                counts += rows
                self._groups.append((file, len([1 for other, _ in self._groups if other == file])))
        self.regions, self.blocks = np.array(counts, dtype=np.int64), np.array(blocks, dtype=np.int64)
        self._starts = np.searchsorted(self.blocks, np.arange(len(self._groups)))

    def _light_groups(self, file: Path) -> Iterator[list[dict[str, Any]]]:
        """The text columns of each row group: pictures are most of a file and not needed to count."""
        with pq.ParquetFile(file) as parquet:
            columns = [name for name in parquet.schema_arrow.names if name in TEXT_COLUMNS]
            if not columns:
                raise ValueError(f"{file.name}: expected a column {' or '.join(TEXT_COLUMNS)}, found none")
            for group in range(parquet.num_row_groups):
                yield parquet.read_row_group(group, columns=columns).to_pylist()

    def __getitem__(self, index: int) -> dict[str, Any]:
        block = int(self.blocks[index])
        if block not in self._cache:
            while len(self._cache) >= self._held:
                self._cache.pop(next(iter(self._cache)))
            file, group = self._groups[block]
            with pq.ParquetFile(file) as parquet:
                self._cache[block] = parquet.read_row_group(group)
        row: list[dict[str, Any]] = self._cache[block].slice(index - int(self._starts[block]), 1).to_pylist()
        return {name: value for name, value in row[0].items() if value is not None}

    def texts(self) -> Iterator[str]:
        for file in self._files:
            for rows in self._light_groups(file):
                for row in rows:
                    yield from record_texts(row, self._kind)


def count_regions(record: dict[str, Any], kind: str) -> int:
    """Regions, or questions, of a record; one that cannot be read counts 1, so that it is met and reported."""
    if kind == "chat":
        turns = record.get("conversations")
        if not isinstance(turns, list):
            return 1
        questions = [question for question, _ in turn_pairs(turns)]
        return len(questions) - first_shown(questions)
    listed = record.get("captions") if record.get("captions") is not None else record.get("annotations")
    return len(listed) if isinstance(listed, list) else 1


def record_texts(record: dict[str, Any], kind: str) -> Iterator[str]:
    if kind == "chat":
        for question, answer in turn_pairs(record.get("conversations") or []):
            yield from (without_marks(question), answer)
    elif record.get("captions") is not None:
        yield from (text for text in record["captions"] if isinstance(text, str))
    else:
        for entry in record.get("annotations") or []:
            if isinstance(entry, dict) and isinstance(entry.get("caption"), str):
                yield entry["caption"]
