"""Pictures that lie in Parquet files: read forwards with the run, a few at a time."""

import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa

from pdlm_cli.errors import RegionError
from pdlm_cli.readers.parquet import open_parquet
from pdlm_cli.regions import ParquetCell

BATCH_ROWS = 4
KEPT_ROWS = 64  # threads ask for pictures a little out of order; what was passed over is kept so long
KEPT_BYTES = 128 << 20


class ParquetPictures:
    """The column image.bytes of an input's files. A row group is only read again for a row that was passed long ago."""

    def __init__(self, open_file: Callable[[int], BinaryIO]) -> None:
        """open_file: opens the file of that number."""
        self._open_file = open_file
        self._lock = threading.Lock()
        self._group: tuple[int, int] | None = None
        self._rows: Iterator[bytes | None] = iter(())
        self._next = 0
        self._kept: dict[int, bytes | None] = {}

    def read(self, cell: ParquetCell) -> bytes | None:
        """The bytes of one picture; None if the cell is empty. Raises RegionError bad_image if the file is damaged."""
        with self._lock:
            if self._group != cell[:2] or (cell.row < self._next and cell.row not in self._kept):
                self._group, self._next, self._kept = (cell.file, cell.group), 0, {}
                self._rows = self._read_group(cell.file, cell.group)
            while cell.row not in self._kept:
                try:
                    self._kept[self._next] = next(self._rows)
                except (pa.ArrowException, OSError, StopIteration) as error:
                    self._group = None
                    where = f"row {cell.row} of row group {cell.group}"
                    raise RegionError("bad_image", f"{where} cannot be read: {error or 'there are fewer'}") from error
                self._next += 1
                while len(self._kept) > KEPT_ROWS or (self._weight() > KEPT_BYTES and len(self._kept) > 1):
                    self._kept.pop(next(iter(self._kept)))
            return self._kept[cell.row]

    def _weight(self) -> int:
        return sum(len(data) for data in self._kept.values() if data is not None)

    def _read_group(self, file: int, group: int) -> Iterator[bytes | None]:
        with self._open_file(file) as opened, open_parquet(opened) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=["image.bytes"]):
                yield from batch.column(0).field(0).to_pylist()
