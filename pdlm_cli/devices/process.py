"""A worker process, seen from the process that started it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Literal

from pdlm_cli.devices.handover import Sender, shared_memory
from pdlm_cli.devices.messages import Done, Failed, Loaded, Note, OutOfMemory, Start, Work
from pdlm_cli.errors import ConfigError, OutOfDeviceMemory
from pdlm_cli.logs import log

# Not multiprocessing's own way to start a process: that would import the main module again, and wait at exit for a
# child that takes no signal.
BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pdlm_cli.devices.worker import main; main(*map(int, sys.argv[2:]))"
)
LAST_LINES = 3  # of what a worker printed, told when it dies
END_S = 10.0  # for a worker to be gone once its pipe is closed


class WorkerLost(Exception):
    """The worker is gone, and with it the batch it was given. code: of the passes, should one of them be to blame."""

    def __init__(self, code: Literal["device_error", "timeout"], message: str) -> None:
        super().__init__(message)
        self.code: Literal["device_error", "timeout"] = code


class WorkerProcess:
    """One process with one model. Used by one thread at a time."""

    def __init__(self, start: Start) -> None:
        self.device = start.device
        ours, theirs = socket.socketpair()
        printed, output = os.pipe()
        self._memory = shared_memory()
        shared = theirs.fileno(), self._memory.fileno()
        with theirs, _signals_blocked():  # which the child inherits, from its very first moment
            self._process = subprocess.Popen(  # nosec B603 # this very program, no shell
                [sys.executable, "-c", BOOT, json.dumps(sys.path), *map(str, shared)],
                stdin=subprocess.PIPE,  # never written to: it ends when this process does, however that may be
                stdout=output,
                stderr=output,
                pass_fds=shared,
            )
        os.close(output)
        self._worker = Connection(ours.detach())
        self._questions = Sender(self._worker, self._memory.fileno())
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._reader = threading.Thread(target=self._log_output, args=(printed,), daemon=True)
        self._reader.start()
        self._start = start

    def load(self, limit_s: float | None) -> Loaded:
        """Have the checkpoint loaded. Raises ConfigError, WorkerLost."""
        loaded = self._ask(self._start, limit_s)
        assert isinstance(loaded, Loaded)
        return loaded

    def caption(self, passes: Sequence[Any], limit_s: float) -> Done:
        """Raises OutOfDeviceMemory, after which it can be asked again, and WorkerLost, after which it cannot."""
        reply = self._ask(Work(passes, limit_s), limit_s)
        if isinstance(reply, OutOfMemory):
            raise OutOfDeviceMemory(reply.message)
        assert isinstance(reply, Done)
        return reply

    def close(self) -> None:
        """End the process, whatever it is doing. Safe to call twice."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        self._worker.close()
        self._memory.close()
        self._reader.join(END_S)

    def _ask(self, question: Start | Work, limit_s: float | None) -> Any:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._kill()

        # A killed worker ends whatever this thread waits for, sending included.
        watchdog = threading.Timer(limit_s, give_up) if limit_s is not None else None
        if watchdog is not None:
            watchdog.daemon = True
            watchdog.start()
        try:
            self._questions.send(question)
            reply = self._receive()
        except (EOFError, OSError):
            self.close()
            if late.is_set():
                raise WorkerLost("timeout", f"no result within {limit_s:.0f} s, see --pass-timeout") from None
            raise WorkerLost("device_error", self._obituary()) from None
        finally:
            if watchdog is not None:
                watchdog.cancel()
        if isinstance(reply, Failed):
            self.close()
            if reply.code == "device":
                raise WorkerLost("device_error", reply.message)
            if reply.code == "config":
                raise ConfigError(reply.message)
            raise RuntimeError(f"in the worker on {self.device}:\n{reply.message}")
        return reply

    def _receive(self) -> Any:
        while isinstance(reply := self._worker.recv(), Note):
            log.log(reply.level, "%s", reply.message)
        return reply

    def _kill(self) -> None:
        self._process.kill()

    def _obituary(self) -> str:
        """How the process ended, with its last words."""
        status = self._process.returncode
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        maybe = "; the machine may be out of memory" if status == -signal.SIGKILL else ""
        said = f": {' | '.join(self._last_lines)}" if self._last_lines else ""
        return f"the worker process on {self.device} {how}{maybe}{said}"

    def _log_output(self, printed: int) -> None:
        """What libraries print, into the log, line by line."""
        with open(printed, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if text := line.strip():
                    self._last_lines.append(text)
                    log.warning("worker on %s: %s", self.device, text)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """SIGINT and SIGTERM wait, for this thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
