"""Settings every test shares."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import HealthCheck, settings

from pdlm_cli import logs, progress

# A test that reached for the hub would depend on the network; read by huggingface_hub when it is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"

# No deadline: the first example of a test pays for imports. In CI the examples are the same in every run, so that a
# red run means the change, not the luck of the draw.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands send the package's logs to the stderr of the moment, which is another one in the next test."""
    log = logging.getLogger("pdlm_cli")
    before = log.handlers, log.level, log.propagate, logs.chosen
    yield
    log.handlers, log.level, log.propagate, logs.chosen = before


@pytest.fixture
def seen(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Called by tests of faults with what was seen, for the table of `make faults`."""
    return lambda behaviour: record_property("seen", behaviour)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, list[int]]:
    """By unit, what commands tell of their progress, item by item."""
    told: dict[str, list[int]] = defaultdict(list)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0)
    monkeypatch.setattr(progress.LineProgress, "advance", lambda self, items: told[self._unit].append(items))
    return told
