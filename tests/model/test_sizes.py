"""Models of random weights."""

import pytest
import torch

from model.sizes import random_model


def test_random_models_depend_on_their_seed_alone():
    first, second, other = (random_model("tiny", seed=seed) for seed in (0, 0, 1))
    state = first.state_dict()
    assert all(torch.equal(state[name], value) for name, value in second.state_dict().items())
    assert any(not torch.equal(state[name], value) for name, value in other.state_dict().items())
    with pytest.raises(ValueError, match="size must be one of tiny"):
        random_model("huge")
