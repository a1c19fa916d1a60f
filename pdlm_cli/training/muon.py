"""Muon (Jordan et al. 2024) for the matrices of a model and AdamW for the rest, as one optimizer.

A step that is the nearest orthogonal matrix to the momentum needs about half the samples of AdamW's on models from
nothing. Gains, biases, embeddings, heads and filters stay with AdamW, as its authors advise.
"""

from collections.abc import Iterable
from typing import Any

import torch


class MuonAdamW(torch.optim.Optimizer):
    """Parameter groups say which they are for: `matrices` true for Muon. Steps of both have the size of AdamW's (Liu
    et al. 2025, section 2.2), so learning rates and weight decay mean the same."""

    def __init__(self, groups: Iterable[dict[str, Any]], *, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {})
        self._parts: list[torch.optim.Optimizer] = [  # which add what they need to know to their group
            torch.optim.Muon([group], adjust_lr_fn="match_rms_adamw")
            if group["matrices"]
            else torch.optim.AdamW([group], betas=betas, eps=eps)
            for group in self.param_groups
        ]

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for part, group in zip(self._parts, self.param_groups, strict=True):
            part.param_groups, part.state = [group], self.state  # both are new after a state is loaded
            part.step()
