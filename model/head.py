"""Predictions of many slots without all their logits at once: 126,464 of each, and a batch has hundreds of slots."""

from torch import Tensor, nn

from model.sampling import Prediction, predict
from model.settings import Sampling

ROWS = {"cpu": 64, "cuda": 512}  # that have logits at a time, at most: 32 and 260 MB of them


def likeliest_tokens(
    head: nn.Module, hidden: Tensor, sampling: Sampling, entropy: bool = False, rows: int | None = None
) -> Prediction:
    """Predictions (N,) from hidden states (N, D): `predict` at temperature 0, some rows at a time.

    head: the output layer, from (N, D) to logits (N, V). rows: at a time at most, None for ROWS of the device; evenly,
    as a product of few rows costs as much as one of many.
    """
    assert sampling.temperature == 0
    guesses = []
    for part in hidden.tensor_split(max(1, -(-len(hidden) // (rows or ROWS[hidden.device.type])))):
        guess = predict(head(part)[None], sampling, entropy=entropy, spare=True)
        guesses.append(guess.each(lambda of_one: of_one[0]))
    return Prediction.joined(guesses)
