"""The elementwise parts of the decoder, fused by torch.compile: norms, MLPs, and the restoring of quantized weights.

Attention stays out: what it reads and writes changes whenever a pass comes or goes (see `packed`), and each change
would be compiled anew. The parts take any number of rows and are alike in all layers, so that one forward compiles all.
"""

import torch
from transformers import LlamaModel
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from model.clock import now
from model.quantize import QuantizedLinear

ROWS = 61  # of that forward; neither 1 nor a width of the model, which torch would take for the same number forever


def compile_decoder(decoder: LlamaModel) -> float:
    """Compile the parts of `decoder` in place, and return the seconds that it took. Raises ValueError if torch cannot
    compile here."""
    for module in decoder.modules():
        if isinstance(module, LlamaMLP | LlamaRMSNorm | QuantizedLinear):
            module.compile(dynamic=True)
    some = decoder.norm.weight
    started = now(some.device)
    try:
        with torch.inference_mode():
            decoder(inputs_embeds=some.new_zeros(1, ROWS, len(some)), use_cache=False)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            "torch cannot compile here: it needs a C++ compiler, and Triton on CUDA; install what is missing, or leave "
            f"--compile out ({reason})"
        ) from error
    return now(some.device) - started
