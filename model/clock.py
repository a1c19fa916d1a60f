"""Seconds, once the device has finished what it was given."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which costs an import of torch
    import torch


def now(device: "torch.device") -> float:
    """On a monotonic clock."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter()
