"""SIGINT and SIGTERM: finish what is under way, commit, leave. A second one leaves at once."""

import os
import signal
import time
from types import FrameType

from pdlm_cli.errors import Interrupted


class StopSignals:
    """Use as a context manager in the main thread, before slow imports: it must answer while they run."""

    def __init__(self, *, echo_s: float = 0.0) -> None:
        """echo_s: seconds after the first signal in which another one is taken for the same: a launcher that is told to
        stop passes on what this process may have got already."""
        self.received: int | None = None
        self._at, self._echo_s = 0.0, echo_s
        self._deferred = False

    def __enter__(self) -> "StopSignals":
        self._previous = {sig: signal.signal(sig, self._handle) for sig in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for sig, handler in self._previous.items():
            signal.signal(sig, handler)

    def defer(self) -> None:
        """From here on the first signal is only noted in `received`; until here it raises Interrupted."""
        self._deferred = True

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if time.monotonic() < self._at + self._echo_s:
                return
            # Not by the default action: the kernel ignores that one for PID 1 of a container.
            os._exit(128 + signum)
        self.received, self._at = signum, time.monotonic()
        if not self._deferred:
            raise Interrupted(signum)
