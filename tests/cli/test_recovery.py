"""What is done about a failure, with workers that follow a script in place of processes."""

import math
import signal
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pytest

from pdlm_cli.devices import recovery
from pdlm_cli.devices.faults import parse
from pdlm_cli.devices.messages import Done, Start
from pdlm_cli.devices.process import WorkerLost
from pdlm_cli.devices.recovery import Device, Patience
from pdlm_cli.devices.worker import GRACE_S
from pdlm_cli.engine import PassFailure
from pdlm_cli.errors import ConfigError, DeviceError, OutOfDeviceMemory


class Loaded:
    model_sha256 = "0" * 64
    lanes: int | None = None


class Scripted:
    """Passes are texts: "big" never fits, "bad" kills, "slow" is killed, "once" kills the first worker of a device.

    fits: passes at once. calls: all batches that workers were given, of all their lives.
    """

    fits = 100
    calls: list[list[str]] = []  # noqa: RUF012, shared on purpose
    limits: list[float] = []  # noqa: RUF012
    alive = 0

    def __init__(self, start: Start) -> None:
        self.life = start.life
        self.checkpoint = start.checkpoint
        type(self).alive += 1
        self.open = True

    def load(self, limit_s: float | None) -> Any:
        if self.checkpoint == "broken" and self.life > 0:
            raise WorkerLost("device_error", "no such device any more")
        return Loaded()

    def caption(self, passes: Sequence[str], limit_s: float) -> Any:
        assert self.open
        self.calls.append(list(passes))
        self.limits.append(limit_s)
        if len(passes) > self.fits or "big" in passes:
            raise OutOfDeviceMemory("out of memory")
        lost = {"bad": "device_error", "slow": "timeout"} | ({"once": "device_error"} if self.life == 0 else {})
        for item in passes:
            if item in lost:
                self.close()
                raise WorkerLost(lost[item], f"lost with {item}")  # type: ignore[arg-type]
        return Done([f"captions of {item}" for item in passes], busy_s=1.0)  # type: ignore[arg-type]

    def close(self) -> None:
        type(self).alive -= self.open
        self.open = False


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    return make(monkeypatch)


def make(monkeypatch: pytest.MonkeyPatch, *, fits: int = 100, checkpoint: str = "sound", **patience: Any) -> Device:
    script = type("Script", (Scripted,), {"calls": [], "limits": [], "fits": fits, "alive": 0})
    monkeypatch.setattr(recovery, "WorkerProcess", script)
    device = Device(Start(checkpoint, "cpu", "fp32", None, False, {}, None, 0), Patience(patience.get("pass_s")))
    device.load()
    return device


def worker(device: Device) -> Any:
    return device._worker


def told(results: Sequence[Any]) -> list[str]:
    return [
        result.code if isinstance(result, PassFailure) else result.removeprefix("captions of ") for result in results
    ]


@pytest.mark.fault("device out of memory")
def test_half_as_many_passes_are_tried_until_they_fit_and_the_size_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = make(monkeypatch, fits=3)
    assert told(device.caption(list("abcdefgh"))) == list("abcdefgh")
    assert [len(call) for call in worker(device).calls] == [8, 4, 2, 2, 2, 2]
    assert told(device.caption(list("ijk"))) == list("ijk")
    assert [len(call) for call in worker(device).calls][6:] == [2, 1]
    assert device.busy_s == pytest.approx(6.0, abs=0.5)  # and next to nothing for what failed
    assert (device.room.most, device.restarts) == (2, 0)


@pytest.mark.fault("device out of memory")
def test_more_passes_are_tried_again_once_fewer_have_worked_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass that does not fit at all, among four; then the device has room for two."""
    device = make(monkeypatch, fits=2)
    assert told(device.caption(["a", "b", "big", "c"])) == ["a", "b", "device_oom", "c"]
    assert device.room.most == 1
    before = len(worker(device).calls)
    assert told(device.caption(["d"] * 400)) == ["d"] * 400
    sizes = groupby(len(call) for call in worker(device).calls[before:])
    # One of the 32 batches of one has worked before; the next time 64 have to, then 128.
    assert [(size, len(list(calls))) for size, calls in sizes] == [(1, 31), (2, 64), (4, 1), (2, 120), (1, 1)]
    assert device.room.fewest == 1


@pytest.mark.fault("device out of memory")
@pytest.mark.parametrize(("lanes", "sizes"), [(None, [8, 4, 4]), (4, [8, 2, 2, 2, 2]), (1, [8, *[1] * 8])])
def test_half_is_of_the_passes_that_were_on_the_device_together(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lanes: int | None, sizes: list[int]
) -> None:
    """A call has more passes than are on the device at a time; with fewer a call than those, memory is the same."""
    monkeypatch.setattr(Loaded, "lanes", lanes)
    monkeypatch.setattr(recovery.log, "propagate", True)
    device = make(monkeypatch, fits=4)
    assert told(device.caption(list("abcdefgh"))) == list("abcdefgh")
    assert [len(call) for call in worker(device).calls] == sizes
    assert device.room.fewest == sizes[-1]
    assert f"no memory on cpu for {lanes or 8} passes at once; going on with {sizes[-1]}" in caplog.text


@pytest.mark.fault("device out of memory")
def test_a_pass_that_does_not_fit_alone_is_a_failure_and_its_neighbours_go_on(device: Device) -> None:
    assert told(device.caption(["a", "b", "big", "c"])) == ["a", "b", "device_oom", "c"]
    assert told(device.caption(["big"])) == ["device_oom"]
    assert device.restarts == 0


@pytest.mark.fault("device error, NaN logits, hung pass")
@pytest.mark.parametrize(("culprit", "code"), [("bad", "device_error"), ("slow", "timeout")])
def test_after_a_loss_passes_are_tried_one_by_one_and_the_culprit_is_found(
    device: Device, culprit: str, code: str
) -> None:
    assert told(device.caption(["a", culprit, "b"])) == ["a", code, "b"]
    script = worker(device)
    assert script.calls == [["a", culprit, "b"], ["a"], [culprit], ["b"]]
    assert device.restarts == 2
    assert script.alive == 1
    assert told(device.caption(["c", "d"])) == ["c", "d"]
    assert script.calls[-1] == ["c", "d"]
    device.close()
    assert script.alive == 0


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_what_a_fresh_worker_can_do_is_no_failure(device: Device) -> None:
    assert told(device.caption(["once"])) == ["once"]
    assert told(device.caption(["a", "once"])) == ["a", "once"]
    assert device.restarts == 1


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_a_pass_too_large_for_a_fresh_worker_is_told_apart(device: Device) -> None:
    assert told(device.caption(["once", "big"])) == ["once", "device_oom"]


@pytest.mark.fault("device error, NaN logits, hung pass")
@pytest.mark.parametrize("batches", [[["bad", "slow"]], [["bad"], ["slow"]], [["a", "bad"], ["slow", "b"]]])
def test_two_culprits_with_nothing_between_them_are_the_device(device: Device, batches: list[list[str]]) -> None:
    with pytest.raises(DeviceError, match=r"First: lost with bad\. Then: lost with slow"):
        for batch in batches:
            device.caption(batch)
    assert worker(device).alive == 0


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_culprits_with_good_passes_between_them_are_not(device: Device) -> None:
    assert told(device.caption(["bad", "a", "bad"])) == ["device_error", "a", "device_error"]
    assert device.restarts == 3


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_a_device_that_no_fresh_worker_can_use_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    device = make(monkeypatch, checkpoint="broken")
    with pytest.raises(DeviceError, match=r"lost with bad; and no fresh worker could be started: no such device"):
        device.caption(["bad"])


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_a_checkpoint_that_has_changed_meanwhile_is_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loaded, "model_sha256", "1" * 64)
    device.loaded = type("Before", (), {"model_sha256": "0" * 64})()
    with pytest.raises(ConfigError, match="another checkpoint"):
        device.caption(["bad"])


@pytest.mark.fault("device error, NaN logits, hung pass")
def test_patience_grows_with_what_was_seen() -> None:
    patience = Patience(None)
    assert patience.limit_s(2, fresh=True) == 2 * Patience.FIRST_S
    patience.saw(4, 2.0)
    assert patience.limit_s(1, fresh=False) == Patience.LEAST_S
    patience.saw(1, 60.0)
    patience.saw(1, 1.0)
    assert patience.limit_s(3, fresh=False) == 3 * 60 * Patience.TIMES
    assert patience.limit_s(1, fresh=True) == 60 * Patience.TIMES
    patience = Patience(7.0)
    patience.saw(1, 100.0)
    assert patience.limit_s(3, fresh=True) == patience.limit_s(3, fresh=False) == 21.0
    signal.alarm(math.ceil(Patience(math.inf).limit_s(3, fresh=False)) + GRACE_S)  # can be set
    signal.alarm(0)


def test_every_batch_has_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    device = make(monkeypatch, pass_s=5.0)
    device.caption(["a", "b"])
    device.caption(["a"])
    assert worker(device).limits == [10.0, 5.0]


def test_faults_are_read_for_the_life_of_a_worker() -> None:
    assert parse("", 0) == []
    assert parse("oom-above:2,nan:3@0,die:*@1", 0) == [("oom-above", "2"), ("nan", "3")]
    assert parse("oom-above:2,nan:3@0,die:*@1", 1) == [("oom-above", "2"), ("die", "*")]
    for text in ("crash:1", "nan", "nan:x", "oom-above:*", "nan:3 die:2"):
        with pytest.raises(ConfigError, match="PDLM_DEVICE_FAULT"):
            parse(text, 0)
