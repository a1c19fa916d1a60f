"""The machine: what it is, and how fast it really multiplies and moves numbers."""

import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import PIL

from model.clock import now
from pdlm_cli import __version__

MATRIX = {"cpu": 1024, "cuda": 8192}  # side of the matrices that are multiplied
MOVED_BYTES = {"cpu": 2**28, "cuda": 2**32}  # larger than any cache
TRIES, LEAST_S = 5, 0.5  # a GPU that was idle takes a while to reach its clocks


@dataclass(frozen=True)
class Rates:
    """The best that was seen. flop_per_second: of a product of matrices in the dtype of the weights. bytes_per_second:
    read and written by a copy."""

    flop_per_second: float
    bytes_per_second: float

    def facts(self) -> dict[str, float]:
        return asdict(self)


def measure_rates(device: Any, dtype: Any) -> Rates:
    """The best of TRIES of each, or of as many as take LEAST_S: what else runs here only ever takes something away."""
    import torch

    from model.blocked import block_linears

    side, size = MATRIX[device.type], MOVED_BYTES[device.type]
    rows = torch.randn(side, side, device=device).to(dtype)
    product = torch.nn.Sequential(torch.nn.Linear(side, side, bias=False, device=device, dtype=dtype))
    if device.type == "cpu":
        block_linears(product)  # as those of a model that is used
    source = torch.zeros(size // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    with torch.inference_mode():
        return Rates(
            flop_per_second=2 * side**3 / _fastest(lambda: product(rows), device),
            bytes_per_second=size / _fastest(lambda: target.copy_(source), device),
        )


def _fastest(work: Callable[[], Any], device: Any) -> float:
    work()
    times: list[float] = []
    while len(times) < TRIES or sum(times) < LEAST_S:
        started = now(device)
        work()
        times.append(now(device) - started)
    return min(times)


def machine_facts(device: Any, dtype: Any) -> dict[str, Any]:
    """Hardware and versions, for the record."""
    import torch
    import transformers

    on_gpu = device.type == "cuda"
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "load_before": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "device_memory_bytes": torch.cuda.get_device_properties(device).total_memory if on_gpu else None,
        "dtype": str(dtype).removeprefix("torch."),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "pdlm": __version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_gpu else None,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
