"""What the driver knows of one GPU: energy, power, utilization, memory, clocks.

NVML counts the GPUs of the machine, CUDA those that CUDA_VISIBLE_DEVICES lets through, in its order: only the UUID
means the same to both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """At one moment, None for what this GPU or driver does not tell. joules: since the driver was loaded.
    utilization: 0 to 1."""

    joules: float | None = None
    watts: float | None = None
    utilization: float | None = None
    memory_bytes: int | None = None
    sm_mhz: float | None = None
    memory_mhz: float | None = None


class Gauge:
    """One GPU, by its UUID. nvml: the module pynvml."""

    def __init__(self, nvml: Any, uuid: str) -> None:
        self._nvml = nvml
        self._gpu = nvml.nvmlDeviceGetHandleByUUID(uuid)

    @property
    def driver(self) -> str | None:
        """Its version."""
        version: str | None = self._ask(self._nvml.nvmlSystemGetDriverVersion)
        return version

    def read(self) -> Reading:
        nvml, gpu = self._nvml, self._gpu
        return Reading(
            joules=self._ask(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3),
            watts=self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3),
            utilization=self._ask(lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100),
            memory_bytes=self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).used),
            sm_mhz=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)),
            memory_mhz=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM)),
        )

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except self._nvml.NVMLError:  # older GPUs and virtual ones do not know everything
            return None


def open_gauge(uuid: str | None) -> Gauge | None:
    """The gauge of a GPU, None without one or without its driver. uuid: as CUDA gives it, with or without "GPU-"."""
    if uuid is None:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        return Gauge(pynvml, uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")
    except pynvml.NVMLError:
        return None


def uuid_of(device: Any) -> str | None:
    """Of a torch device, None if it is no GPU. CUDA has left out and reordered what CUDA_VISIBLE_DEVICES says."""
    if device.type != "cuda":
        return None
    import torch

    return str(torch.cuda.get_device_properties(device).uuid)
