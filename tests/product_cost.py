"""What a product takes on this CPU, by where the weights lie: `python -m tests.product_cost`.

Billions of operations a second, the best of seven tries in turns: torch's own linear layer, and one whose weights lie
as oneDNN reads them (`model.blocked`). Rows as a step of one caption has them, a step of six, and a prompt with its
picture; widths of the random model of 95 million parameters, its output layer last.
"""

import time
from collections.abc import Callable

import torch
from torch import nn

from model.blocked import BlockedLinear, can_block

WIDTHS = ((768, 2304), (768, 126464))
ROWS = (1, 33, 198, 2100)
MOST = 200  # rows of the output layer
TRIES = 7


def main() -> None:
    print("| weights | from | to | rows | torch | as oneDNN reads them |\n|---|---|---|---|---|---|")
    for dtype in (torch.float32, torch.bfloat16):
        if not can_block(dtype):
            continue
        for inner, outer in WIDTHS:
            plain = nn.Linear(inner, outer, bias=False).to(dtype)
            layers = (plain, BlockedLinear(plain))
            for rows in (rows for rows in ROWS if outer < 10_000 or rows <= MOST):
                x = torch.randn(rows, inner).to(dtype)
                rates = [2e-9 * rows * inner * outer / seconds for seconds in _best(layers, x)]
                print(f"| {str(dtype).removeprefix('torch.')} | {inner} | {outer:,} | {rows:,} |", end="")
                print("|".join(f" {rate:.0f} " for rate in rates) + "|")


@torch.inference_mode()
def _best(layers: tuple[Callable[[torch.Tensor], torch.Tensor], ...], x: torch.Tensor) -> list[float]:
    """Seconds of each layer, in turns, after a first time that does not count."""
    best = [float("inf")] * len(layers)
    for attempt in range(TRIES + 1):
        for place, layer in enumerate(layers):
            started = time.perf_counter()
            layer(x)
            if attempt:
                best[place] = min(best[place], time.perf_counter() - started)
    return best


if __name__ == "__main__":
    main()
