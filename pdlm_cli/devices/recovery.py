"""What to do when a batch fails: fewer passes at once, a fresh worker, one pass at a time, and who is to blame.

out of memory       half as many passes at once, until that has worked for long; a pass that does not fit alone is a
                    failure
the worker is lost  a fresh one gets the passes of the batch one by one; a pass with which that one is lost as well
                    is a failure; two such passes with none between them that worked: the device is broken
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pdlm_cli.devices.messages import Loaded, Start
from pdlm_cli.devices.process import WorkerLost, WorkerProcess
from pdlm_cli.engine import PassFailure, PassResult
from pdlm_cli.errors import ConfigError, DeviceError, OutOfDeviceMemory
from pdlm_cli.logs import log

RELOAD_S = 3600.0  # for a fresh worker to load what an earlier one has loaded before


class Patience:
    """How long a batch may take: what the user says a pass may, or many times what passes have taken.

    A first batch, which may be slow to warm up, has FIRST_S while nothing is known, FRESH_S in a fresh worker.
    """

    FIRST_S, FRESH_S, LEAST_S, TIMES = 3600.0, 600.0, 120.0, 20.0
    FOREVER_S = 1e9  # thirty years; not much more can be counted by the kernel's alarm

    def __init__(self, pass_s: float | None) -> None:
        """pass_s: seconds a pass may take, None to judge by those that were seen."""
        self._pass_s = pass_s
        self._slowest: float | None = None

    def limit_s(self, passes: int, *, fresh: bool) -> float:
        if self._pass_s is not None:
            return min(self._pass_s * passes, self.FOREVER_S)
        if self._slowest is None:
            return self.FIRST_S * passes
        usual = max(self.LEAST_S, self.TIMES * self._slowest) * passes
        return max(self.FRESH_S, usual) if fresh else usual

    def saw(self, passes: int, seconds: float) -> None:
        self._slowest = max(self._slowest or 0.0, seconds / passes)


class Room:
    """How many passes at once a device has memory for, as far as was seen.

    Memory may have run out for the sake of one large pass, or of a neighbor on the device, so twice as many are tried
    once full batches have worked often enough: FIRST of them, and each further time twice as many as before.

    most: None for any number. fewest: that `most` has ever been, None while memory has never run out.
    """

    FIRST = 32

    def __init__(self) -> None:
        self.most: int | None = None
        self.fewest: int | None = None
        self._worked, self._enough = 0, self.FIRST

    def ran_out(self, passes: int) -> int:
        """Half of `passes` from here on, but one at least."""
        self.most, self._worked = max(1, passes // 2), 0
        self.fewest = min(self.fewest or self.most, self.most)
        return self.most

    def worked(self, passes: int) -> None:
        if passes != self.most:
            return
        self._worked += 1
        if self._worked == self._enough:
            self.most, self._worked = 2 * self.most, 0
            self._enough *= 2


class Device:
    """One device and the worker on it, the present one. Used by one thread at a time.

    room: what its memory has room for. restarts: workers that were lost.
    busy_s: seconds that it computed, or was given up on.
    """

    def __init__(self, start: Start, patience: Patience) -> None:
        """Start a worker; `load` waits for it."""
        self.name = start.device
        self.room = Room()
        self.restarts = 0
        self.busy_s = 0.0
        self._start, self._patience = start, patience
        self._worker = WorkerProcess(start)
        self.loaded: Loaded | None = None
        self._fresh = True
        self._blamed: str | None = None  # the failure of the last pass, if none has worked since

    def load(self) -> Loaded:
        """Wait until the checkpoint is loaded. Raises ConfigError, DeviceError."""
        try:
            self.loaded = self._worker.load(None)
        except WorkerLost as lost:
            raise DeviceError(f"the checkpoint could not be loaded on {self.name}: {lost}") from lost
        return self.loaded

    def close(self) -> None:
        self._worker.close()

    def caption(self, passes: Sequence[Any]) -> list[PassResult]:
        """A result a pass, whatever happens to the worker. Raises DeviceError if nothing works any more."""
        results: list[PassResult] = []
        while len(results) < len(passes):
            rest = passes[len(results) :]
            batch = rest[: self.room.most or len(rest)]
            try:
                results += self._call(batch)
            except OutOfDeviceMemory as error:
                results += self._make_room(len(batch), error)
            except WorkerLost as lost:
                log.warning("%s; a fresh worker gets its %d passes one by one", lost, len(batch))
                self._restart(lost)
                results += [self._alone(item) for item in batch]
        return results

    def _call(self, passes: Sequence[Any]) -> list[PassResult]:
        started = time.monotonic()
        busy_s = None
        try:
            done = self._worker.caption(passes, self._patience.limit_s(len(passes), fresh=self._fresh))
            busy_s = done.busy_s
        finally:
            seconds = time.monotonic() - started
            self.busy_s += seconds if busy_s is None else busy_s
        self._patience.saw(len(passes), seconds)
        self.room.worked(len(passes))
        self._fresh, self._blamed = False, None
        return done.results

    def _make_room(self, passes: int, error: OutOfDeviceMemory) -> list[PassResult]:
        """passes: of the call, of which only some may have been on the device together."""
        if passes == 1:
            return [PassFailure("device_oom", str(error))]
        assert self.loaded is not None
        at_once = min(passes, self.loaded.lanes or passes)
        most = self.room.ran_out(at_once)
        facts = {"event": "batch_size", "device": self.name, "passes": most}
        log.warning(
            "no memory on %s for %d passes at once; going on with %d", self.name, at_once, most, extra={"facts": facts}
        )
        return []

    def _alone(self, item: Any) -> PassResult:
        """The result of a pass that may be the one that a worker was lost with."""
        try:
            return self._call([item])[0]
        except OutOfDeviceMemory as error:
            return PassFailure("device_oom", str(error))
        except WorkerLost as lost:
            if self._blamed is not None:
                raise DeviceError(
                    f"{self.name} fails with every pass, in fresh workers too. First: {self._blamed}. Then: {lost}"
                ) from lost
            log.warning("%s; the pass is left out", lost)
            self._blamed = str(lost)
            self._restart(lost)
            return PassFailure(lost.code, str(lost))

    def _restart(self, why: WorkerLost) -> None:
        self.restarts += 1
        self._worker.close()
        self._start = replace(self._start, life=self._start.life + 1)
        self._worker = WorkerProcess(self._start)
        self._fresh = True
        try:
            loaded = self._worker.load(RELOAD_S)
        except WorkerLost as lost:
            raise DeviceError(f"{self.name}: {why}; and no fresh worker could be started: {lost}") from lost
        assert self.loaded is not None
        if loaded.model_sha256 != self.loaded.model_sha256:
            raise ConfigError(f"{self._start.checkpoint} is another checkpoint than when the run began")
