"""What a pass costs to be handed to a worker: `python -m tests.handover_cost`.

Four passes of seven tiles of 512 pixels a batch, pickled whole into a socket, and with their arrays in shared memory.
CPU time of both ends, joining the tiles in the worker included.
"""

import os
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from pdlm_cli.devices.handover import Receiver, Sender, shared_memory

PASSES, ROUNDS = 4, 20


def cost(send: Callable[[Any], None], receive: Callable[[], Any], ours: Connection, theirs: Connection) -> float:
    """Milliseconds of CPU a pass. send, receive: at the two ends of the connection."""
    batch = [np.random.default_rng(i).integers(0, 256, (7, 3, 512, 512), dtype=np.uint8) for i in range(PASSES)]
    if os.fork() == 0:
        for _ in range(ROUNDS + 1):
            np.concatenate(receive())
            theirs.send(time.process_time())
        os._exit(0)
    spent = []
    for _ in range(ROUNDS + 1):
        send(batch)
        spent.append(ours.recv() + time.process_time())
    os.wait()
    return 1e3 * (spent[-1] - spent[0]) / ROUNDS / PASSES  # the first is warm-up


def pair() -> tuple[Connection, Connection]:
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), Connection(theirs.detach())


if __name__ == "__main__":
    ours, theirs = pair()
    print(f"pickled whole: {cost(ours.send, theirs.recv, ours, theirs):.1f} ms of CPU a pass")
    ours, theirs = pair()
    with shared_memory() as memory:
        sender, receiver = Sender(ours, memory.fileno()), Receiver(theirs, memory.fileno())
        print(f"shared memory: {cost(sender.send, receiver.receive, ours, theirs):.1f} ms of CPU a pass")
