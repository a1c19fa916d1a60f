"""A worker as a process: its pipes, signals and end. Real processes, without the model, and so without torch."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe

import numpy as np
import pytest

from pdlm_cli.devices import process
from pdlm_cli.devices.handover import Receiver, Sender, shared_memory
from pdlm_cli.devices.messages import Start
from pdlm_cli.devices.process import WorkerLost, WorkerProcess
from pdlm_cli.errors import ConfigError
from tests.cli.support import no_thread_left
from tests.cli.test_process import alive

BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "

# The inside of a real worker, with an engine that does what it is given: pieces of Python.
SERVE = (
    BEGIN
    + """
import logging, os, time, warnings
import pdlm_cli.devices.worker as worker
from model.preprocess import Geometry
from pdlm_cli.devices.messages import Loaded
from pdlm_cli.errors import ConfigError, DeviceError

class Engine:
    model = None
    def caption(self, passes):
        return [eval(item) if isinstance(item, str) else item for item in passes]

def fail(error):
    raise error

def load(start):
    if start.checkpoint != "sound":
        raise ConfigError("no checkpoint at 'missing'")
    return Engine()

worker._load, worker._get_ready = load, lambda: None
worker._loaded = lambda engine: Loaded(Geometry(1, 1, 1, 1, None), 6, "0", {}, 4, None, 0)
worker.main(*map(int, sys.argv[2:]))
"""
)


@contextmanager
def worker(monkeypatch: pytest.MonkeyPatch, boot: str = SERVE, checkpoint: str = "sound") -> Iterator[WorkerProcess]:
    monkeypatch.setattr(process, "BOOT", boot)
    with no_thread_left():
        made = WorkerProcess(Start(checkpoint, "cpu", "fp32", None, False, {}, None, 0))
        number = made._process.pid
        try:
            yield made
        finally:
            made.close()
            assert not alive(number)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged."""
    log = logging.getLogger("pdlm_cli")
    log.handlers, log.propagate = [], True
    log.setLevel(logging.INFO)
    return caplog


def test_arrays_come_and_go_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """More and less than before, two views of one array, one that is not contiguous, an empty one."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 512, 512), np.uint8)
    with worker(monkeypatch) as made:
        assert made.load(60).max_regions == 6
        for given in (
            [pixels],
            [pixels[0], pixels[0]],
            [pixels, pixels.astype(float)],
            [pixels[:, 0].T, pixels[:0]],
        ):
            found = made.caption(given, 60).results
            for one, other in zip(given, found, strict=True):
                assert np.array_equal(one, other)
        assert made.caption(["1 + 1", "'a'"], 60).results == [2, "a"]


def test_arrays_do_not_go_through_the_pipe() -> None:
    ours, theirs = Pipe()
    with ours, theirs, shared_memory() as memory:
        Sender(ours, memory.fileno()).send([np.zeros(10**7, np.uint8)])  # more than a pipe holds
        Receiver(theirs, memory.fileno()).receive()


def test_it_is_known_how_long_a_worker_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker(monkeypatch) as made:
        made.load(60)
        assert 0.2 <= made.caption(["time.sleep(0.2)"], 60).busy_s < 10


def test_logs_warnings_and_prints_of_a_worker_are_in_the_log(
    monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    with worker(monkeypatch) as made:
        made.load(60)
        made.caption(["logging.getLogger('pdlm_cli').info('from the log')", "warnings.warn('from a library')"], 60)
        made.caption(["print('from stdout', flush=True)", "os.write(2, b'from below\\n')"], 60)
    levels = {record.getMessage(): record.levelname for record in told.records}
    assert levels["from the log"] == "INFO"
    assert levels["worker on cpu: from stdout"] == levels["worker on cpu: from below"] == "WARNING"
    assert any("UserWarning: from a library" in message for message in levels)


def test_a_checkpoint_that_cannot_be_loaded_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker(monkeypatch, checkpoint="missing") as made, pytest.raises(ConfigError, match="no checkpoint at"):
        made.load(60)


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_an_error_of_the_device_is_the_last_word_of_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker(monkeypatch) as made:
        made.load(60)
        with pytest.raises(WorkerLost, match="the device failed") as caught:
            made.caption(["fail(DeviceError('the device failed'))"], 60)
        assert caught.value.code == "device_error"


def test_a_bug_comes_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker(monkeypatch) as made:
        made.load(60)
        with pytest.raises(RuntimeError, match=r"(?s)in the worker on cpu:\nTraceback.*ZeroDivisionError"):
            made.caption(["1 / 0"], 60)


@pytest.mark.fault("device error, NaN logits, hung pass")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL; the machine may be out of memory"),
        ("print('cannot go on', flush=True); os._exit(3)", "ended with status 3: cannot go on"),
    ],
)
def test_a_worker_that_dies_says_how(monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    with worker(monkeypatch, "import os, signal; " + script) as made:
        with pytest.raises(WorkerLost, match=message) as caught:
            made.load(60)
        assert caught.value.code == "device_error"


@pytest.mark.fault("device error, NaN logits, hung pass")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_worker_that_takes_too_long_is_killed(monkeypatch: pytest.MonkeyPatch, stopped: bool) -> None:
    """Asleep, or stopped, with more to be sent to it than a socket holds."""
    with worker(monkeypatch) as made:
        made.load(60)
        if stopped:
            os.kill(made._process.pid, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(WorkerLost, match="no result within 1 s") as caught:
            made.caption(["time.sleep(1000)", np.zeros(10**7)], 1.0)
        assert caught.value.code == "timeout"
        assert time.monotonic() - started < 30


def test_signals_are_the_parents_from_the_first_moment_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker(monkeypatch) as made:
        for number in (signal.SIGINT, signal.SIGTERM) * 3:
            os.kill(made._process.pid, number)
        made.load(60)
        os.kill(made._process.pid, signal.SIGTERM)
        assert made.caption(["1"], 60).results == [1]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


def test_a_busy_worker_ends_with_its_parents_end_of_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker(monkeypatch) as made:
        made.load(60)
        made._questions.send(process.Work(["time.sleep(1000)"], 1000.0))
        started = time.monotonic()
        made.close()
        assert time.monotonic() - started < process.END_S
        assert made._process.returncode == 0
