"""Linear layers on the CPU whose weights lie as oneDNN reads them.

Of a product of few rows, as denoising steps have, much of the time goes into copying the weights into the order in
which MKL reads them, in every product anew. Here they are put in order once, and the layer has no other copy.
"""

import platform

import torch
from torch import Tensor, nn

ROWS = 64  # of the products that the order is chosen for; what it costs others is within the noise


class BlockedLinear(nn.Module):
    """`nn.Linear` for inference, its weight (N, K) an opaque tensor."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        ordered = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)
        self.weight = nn.Parameter(ordered, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., K). To (..., N)."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return product


def can_block(dtype: torch.dtype) -> bool:
    """Whether this machine's oneDNN multiplies in `dtype`."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False  # which elsewhere is another library's work, and has not been tried
    known = {
        torch.float32: True,
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported(),
    }
    return known.get(dtype, False)


def block_linears(model: nn.Module) -> None:
    """Put a `BlockedLinear` in the place of every linear layer of `model`, one by one."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear and can_block(child.weight.dtype):  # others read the weight of theirs
                setattr(parent, name, BlockedLinear(child))
