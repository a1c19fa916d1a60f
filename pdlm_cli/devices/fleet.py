"""The engine whose model runs in worker processes, one a device."""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.preprocess import prepare_image, prepare_pass
from model.settings import DecodeSettings
from pdlm_cli.checkpoints import named_or_shipped
from pdlm_cli.cores import usable_cores
from pdlm_cli.devices.messages import Loaded, Start
from pdlm_cli.devices.recovery import Device, Patience
from pdlm_cli.engine import PassResult
from pdlm_cli.errors import DeviceError
from pdlm_cli.logs import log


@contextmanager
def open_workers(
    checkpoint: str | None,
    devices: Sequence[str],
    dtype: str,
    settings: DecodeSettings,
    pass_timeout: float | None,
    *,
    quantize: str | None = None,
    compiled: bool = False,
) -> Iterator["Fleet"]:
    """An engine with a worker process on each of the devices, which end with the context.

    devices: at least one; ["all"] for all CUDA devices. pass_timeout: seconds a pass may take, None to judge by those
    that were seen. See `load_engine` for the others. Raises ConfigError, DeviceError.
    """
    assert devices
    source = named_or_shipped(checkpoint)
    patience = Patience(pass_timeout)
    with ExitStack() as stack:

        def begin(names: Sequence[str]) -> list[Device]:
            threads = _threads(names)
            begun = []
            for name in names:
                start = Start(source, name, dtype, quantize, compiled, settings, threads, life=0)
                begun.append(Device(start, patience))
                stack.callback(begun[-1].close)
            return begun

        if list(devices) == ["all"]:
            fleet = begin(["0"])
            loaded = [fleet[0].load()]
            fleet += begin([str(number) for number in range(1, loaded[0].cuda_devices)])
            loaded += [device.load() for device in fleet[1:]]
        else:
            fleet = begin(devices)
            loaded = [device.load() for device in fleet]
        yield Fleet(fleet, loaded)


def _threads(names: Sequence[str]) -> int | None:
    """Workers on the CPU share its cores."""
    on_cpu = sum(name == "cpu" for name in names)
    return max(1, usable_cores() // on_cpu) if on_cpu > 1 else None


class Fleet:
    """An `Engine` over several devices with the same checkpoint: a batch goes to whichever is idle."""

    def __init__(self, devices: Sequence[Device], loaded: Sequence[Loaded]) -> None:
        first = loaded[0]
        assert all(other.model_sha256 == first.model_sha256 for other in loaded)
        self.max_regions = first.max_regions
        self.model_sha256 = first.model_sha256
        self._names = [own.facts["device"] for own in loaded]
        self.facts = {**first.facts, "device": ", ".join(self._names)}
        self.batch_size = min(own.batch_size for own in loaded)
        self.parallel = len(devices)
        self._geometry = first.geometry
        self._devices = list(devices)
        self._working = len(devices)
        self._lock = threading.Lock()
        self._idle: queue.SimpleQueue[Device | None] = queue.SimpleQueue()
        for device in devices:
            self._idle.put(device)

    @property
    def incidents(self) -> Mapping[str, int]:
        """worker_restarts; passes_at_once: the fewest that a device was left with, if memory ran out."""
        sizes = [device.room.fewest for device in self._devices if device.room.fewest is not None]
        restarts = sum(device.restarts for device in self._devices)
        return {"worker_restarts": restarts, **({"passes_at_once": min(sizes)} if sizes else {})}

    @property
    def busy(self) -> Sequence[tuple[str, float]]:
        return [(name, device.busy_s) for name, device in zip(self._names, self._devices, strict=True)]

    def prepare_image(self, picture: Image.Image) -> Any:
        return prepare_image(picture, self._geometry)

    def prepare_pass(self, image: Any, masks: NDArray[np.bool_], seeds: Sequence[int], instruction: str | None) -> Any:
        return prepare_pass(image, masks, self._geometry, seeds=seeds, instruction=instruction)

    def caption(self, passes: Sequence[Any]) -> list[PassResult]:
        """See `Engine`. A device that is broken is left out while there are others."""
        while True:
            device = self._idle.get()
            if device is None:
                self._give_up()
                raise DeviceError("no device is left")
            try:
                results = device.caption(passes)
            except DeviceError as error:
                with self._lock:
                    self._working -= 1
                    if self._working == 0:
                        self._give_up()
                        raise
                log.error("%s; going on without this device", error)
            except BaseException:
                self._give_up()
                raise
            else:
                self._idle.put(device)
                return results

    def _give_up(self) -> None:
        """Let no call wait for a device in vain, now or later."""
        self._idle.put(None)
