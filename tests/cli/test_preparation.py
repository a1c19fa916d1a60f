"""Threads that work ahead of the model."""

import threading
import time

from pdlm_cli.preparation import run_ahead
from tests.preparation_profile import SHOWN, profiled


def test_threads_stay_a_bounded_number_of_items_ahead_and_keep_the_order() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def work(item: int) -> int:
        with lock:
            started.append(item)
        time.sleep(0.001 * (item % 3))
        return item

    for read, item in enumerate(run_ahead(range(60), work, workers=3)):
        assert item == read
        assert len(started) <= read + 1 + 2 * 3


def test_a_run_ahead_that_is_abandoned_leaves_no_thread() -> None:
    before = threading.active_count()
    stream = run_ahead(range(1000), lambda item: item, workers=3)
    assert next(stream) == 0
    stream.close()
    assert threading.active_count() == before


def test_the_profile_of_preparation_finds_what_takes_most() -> None:
    found = profiled(1)
    assert len(found) == SHOWN + 1
    assert any("resize" in name for name in found)
    assert sum(found.values()) <= 2 * found["all"]
