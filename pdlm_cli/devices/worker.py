"""The inside of a worker process: load a checkpoint, caption batches until nobody asks any more.

Started by `WorkerProcess`, with SIGINT and SIGTERM blocked: a Ctrl-C reaches the whole process group, and the parent
alone decides what is finished.
"""

import faulthandler
import logging
import math
import os
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from pdlm_cli.device import free_memory
from pdlm_cli.devices.faults import Faults
from pdlm_cli.devices.handover import Receiver
from pdlm_cli.devices.messages import Done, Failed, Loaded, Note, OutOfMemory, Start, Work
from pdlm_cli.engine import ModelEngine, load_engine
from pdlm_cli.errors import DeviceError, OutOfDeviceMemory, PdlmError
from pdlm_cli.logs import log

GRACE_S = 30  # for the parent to end a worker whose time is over, before it ends itself


def main(channel: int, memory: int) -> None:
    """File descriptors. channel: of the socket to the parent. memory: of what it shares with this process.

    Standard input is a pipe that the parent holds open.
    """
    faulthandler.enable()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with Connection(channel) as parent:
        _log_to(parent)
        try:
            _serve(parent, Receiver(parent, memory))
        except DeviceError as error:
            parent.send(Failed("device", str(error)))
        except PdlmError as error:
            parent.send(Failed("config", str(error)))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the parent is gone, or has no more to do
        except Exception:
            parent.send(Failed("bug", traceback.format_exc()))


def _serve(parent: Connection, questions: Receiver) -> None:
    _get_ready()
    start: Start = questions.receive()
    engine = _load(start)
    faults = Faults.of_environment(engine.model, start.life)
    parent.send(_loaded(engine))
    while True:
        work: Work = questions.receive()
        # The kernel's own clock, in case the parent has been killed and this process hangs with the interpreter locked.
        signal.alarm(math.ceil(work.limit_s) + GRACE_S)
        if faults is not None:
            faults.aim(work.passes)
        reply: Done | OutOfMemory
        started = time.monotonic()
        try:
            reply = Done(engine.caption(work.passes), time.monotonic() - started)
        except OutOfDeviceMemory as error:
            reply = OutOfMemory(str(error))
        if isinstance(reply, OutOfMemory):
            free_memory()  # only here does nothing hold on to the frames of the error, and to what they had made
        signal.alarm(0)
        parent.send(reply)


def _get_ready() -> None:
    """What takes seconds, while the workers before this one load: checkpoints are loaded one after the other, so that
    host memory need not hold several."""
    import model.pdlm  # noqa: F401


def _load(start: Start) -> ModelEngine:
    import torch

    if start.threads is not None:
        torch.set_num_threads(min(torch.get_num_threads(), start.threads))  # or fewer, as OMP_NUM_THREADS says
    asked = start.checkpoint, start.device, start.dtype, start.settings
    return load_engine(*asked, quantize=start.quantize, compiled=start.compiled)


def _loaded(engine: ModelEngine) -> Loaded:
    import torch

    return Loaded(
        geometry=engine.model.config.geometry,
        max_regions=engine.max_regions,
        model_sha256=engine.model_sha256,
        facts=engine.facts,
        batch_size=engine.batch_size,
        lanes=engine.lanes,
        cuda_devices=torch.cuda.device_count(),
    )


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing is ever written: it returns when the parent closes the pipe, or is no more
    os._exit(0)


def _log_to(parent: Connection) -> None:
    """Send logs and warnings of Python to the parent, which has the run's log."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            parent.send(Note(record.levelno, record.getMessage().strip()))

    handler: Any = Forward()
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers = [handler]
