"""The likeliest token of each slot without logits of vocabulary size.

126,464 logits of 200 slots are 100 MB, and a batch has many passes. The vocabulary is gone through in tiles
instead, with a running maximum and a running sum.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.sampling import NEVER, Prediction

TILES = {"cpu": 4096, "cuda": 32768}  # rows of the vocabulary; so that a tile of logits is a few MB


class LikeliestToken:
    """weight: (V, D) of the output layer. banned: ids that are never predicted."""

    def __init__(self, weight: Tensor, banned: Sequence[int], tile: int | None = None) -> None:
        self._tiles = weight.split(tile or TILES[weight.device.type])
        self._banned: list[Tensor] = []
        start = 0
        for part in self._tiles:
            inside = [token - start for token in banned if start <= token < start + len(part)]
            self._banned.append(torch.tensor(inside, dtype=torch.long, device=weight.device))
            start += len(part)

    def __call__(self, hidden: Tensor, entropy: bool = False) -> Prediction:
        """Predictions (N,) from hidden states (N, D): `predict` at temperature 0.

        With m the largest logit so far, `others` is the sum of exp(l - m) over all other logits l, so that near-certain
        slots keep their order (see `log_probability`), and `spread` the sum of exp(l - m) (l - m).
        """
        rows = hidden.shape[0]
        peak = torch.full((rows,), torch.finfo(torch.float32).min, device=hidden.device)
        others, spread = torch.zeros_like(peak), torch.zeros_like(peak)
        tokens = torch.zeros(rows, dtype=torch.long, device=hidden.device)
        start = 0
        for weight, banned in zip(self._tiles, self._banned, strict=True):
            logits = F.linear(hidden, weight).float()
            if len(banned):
                logits.index_fill_(1, banned, float("-inf"))
            highest, where = logits.max(dim=1)
            better = ~(highest <= peak)  # NaN too: it stays, and is found in the end
            top = torch.where(better, highest, peak)
            logits -= top[:, None]
            falls = logits.clamp_(min=NEVER).exp() if entropy else logits.exp_()
            falls.scatter_(1, where[:, None], torch.where(better, 0.0, falls.gather(1, where[:, None])[:, 0])[:, None])
            # What led until now has joined the others, all of them lower than before by the same amount.
            drop = (peak - top).clamp(min=NEVER)
            shrunk = drop.exp() * better
            before = torch.where(better, drop.exp(), torch.ones_like(peak))
            if entropy:
                spread = before * (spread + others * drop) + shrunk * drop + (falls * logits).sum(dim=1)
            others = before * others + shrunk + falls.sum(dim=1)
            tokens = torch.where(better, where + start, tokens)
            peak = top
            start += len(weight)
        certainty = (peak - peak) - others.log1p()
        if not entropy:
            return Prediction(tokens, certainty)
        return Prediction(tokens, certainty, others.log1p() - spread / (1 + others))
