"""One device: which, how a model gets there, and what goes wrong on it. Workers on several are in `devices`."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pdlm_cli.cores import usable_cores
from pdlm_cli.errors import ConfigError, DeviceError, OutOfDeviceMemory

if TYPE_CHECKING:
    from model.pdlm import PerceptionDLMBase

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

# What torch says in a plain RuntimeError when memory is short, and when the device has failed.
MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
DEVICE_WORDS = (
    "CUDA error",
    "CUDA driver error",
    "cuDNN error",
    "CUBLAS_STATUS",
    "CUDNN_STATUS",
    "HIP error",
    "NCCL error",
)
LESS_MEMORY = "a smaller --batch-size or --length, --dtype bf16 or --quantize int8"


def pick_device(name: str) -> Any:
    """name: auto, a torch device, or the number of a CUDA device. Raises ConfigError."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(f"cuda:{name}" if name.isdecimal() else name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):  # torch knows many more, which nothing here was made for
        raise ConfigError(f"--device {name!r} is no device; expected auto, cpu, cuda or cuda:0")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ConfigError(
            f"--device {name}: torch {torch.__version__} sees {found} CUDA devices here; use another, or cpu"
        )
    return device


def pick_dtype(name: str, device: Any) -> str:
    """name: auto, or a key of DTYPES, which is what comes out."""
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" else "fp32"


def place(model: "PerceptionDLMBase", device: Any, quantize: str | None, *, compiled: bool) -> float | None:
    """Put a model on a device, its decoder stored as `quantize` says before it gets there. Returns the seconds that
    compiling took, None if it is not compiled. Raises ValueError."""
    import torch

    from model.blocked import block_linears
    from model.compiled import compile_decoder
    from model.quantize import quantize_decoder

    if device.type == "cpu":
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    torch.backends.cudnn.allow_tf32 = False  # which torch takes for fp32 in convolutions, and nowhere else
    if quantize is not None:
        quantize_decoder(model.language_model.model, quantize, device)
    model.to(device)
    if compiled:
        return compile_decoder(model.language_model.model)
    if device.type == "cpu":
        block_linears(model)
    return None


@contextmanager
def device_errors(less_memory: str = LESS_MEMORY) -> Iterator[None]:
    """Failures of the device as DeviceError, told apart from ours: the same command may work on another try.

    less_memory: what to try where memory is short.
    """
    import torch

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if memory or any(words in said for words in MEMORY_WORDS):
            raise OutOfDeviceMemory(f"the device is out of memory; try {less_memory} ({said})") from error
        if isinstance(error, torch.AcceleratorError) or any(words in said for words in DEVICE_WORDS):
            raise DeviceError(f"the device failed: {said}") from error
        raise


@contextmanager
def model_errors() -> Iterator[None]:
    """What a model cannot do as ConfigError, what its device cannot as DeviceError."""
    try:
        with device_errors():
            yield
    except DeviceError:
        raise
    except (ValueError, FloatingPointError) as error:
        raise ConfigError(str(error)) from error


def free_memory() -> None:
    """Give the device's cached memory back, once nothing holds on to what a failed call had made."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
