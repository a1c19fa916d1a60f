"""A batch handed to another process: its arrays through memory that both see, the rest pickled, over a connection.

    Sender    writes every array once      -> memory ->      Receiver    has arrays that lie there
              pickles the rest             -> connection ->

A pass of seven tiles costs both ends together a tenth of what it costs pickled whole (`python -m tests.handover_cost`).
"""

import mmap
import os
import pickle  # nosec B403 # between processes of one run
import sys
import tempfile
from itertools import accumulate
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, cast

ALIGNED = 64  # bytes; where arrays begin


def shared_memory() -> BinaryIO:
    """Memory without a name, as a file: it goes with the last process that holds it, however that ends."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("pdlm"), "w+b")
    else:
        return cast(BinaryIO, tempfile.TemporaryFile())


class Sender:
    """Each message overwrites the arrays of the one before: send none that the other side has not asked for."""

    def __init__(self, connection: Connection, memory: int) -> None:
        """memory: file descriptor of shared_memory()."""
        self._connection, self._memory = connection, memory
        self._map: mmap.mmap | None = None
        self._size = 0

    def send(self, message: Any) -> None:
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        *starts, end = accumulate((-(-len(array) // ALIGNED) * ALIGNED for array in arrays), initial=0)
        if end > self._size:
            os.ftruncate(self._memory, end)
            self._map, self._size = mmap.mmap(self._memory, end), end
        places = [(start, start + len(array)) for start, array in zip(starts, arrays, strict=True)]
        for (start, stop), array in zip(places, arrays, strict=True):
            assert self._map is not None
            self._map[start:stop] = array
        self._connection.send((pickled, self._size, places))


class Receiver:
    """Arrays of a message are as they were sent until the next one is received."""

    def __init__(self, connection: Connection, memory: int) -> None:
        self._connection, self._memory = connection, memory
        self._seen = memoryview(b"")

    def receive(self) -> Any:
        """Raises EOFError if the other side is gone."""
        pickled, size, places = self._connection.recv()
        if size > len(self._seen):
            self._seen = memoryview(mmap.mmap(self._memory, size))
        arrays = [self._seen[start:stop] for start, stop in places]
        return pickle.loads(pickled, buffers=arrays)  # nosec B301 # by the process that started this one
