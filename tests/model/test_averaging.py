"""The mean of checkpoints: of their weights, and of nothing that is not of one training."""

from pathlib import Path

import pytest
import torch

from model.averaging import average_checkpoints
from model.config import RegionConfig
from model.sizes import random_model


def saved(folder: Path, seed: int, dtype: torch.dtype = torch.float32, roi_size: int = 4) -> Path:
    random_model("tiny", seed=seed, regions=RegionConfig.isolated(6, roi_size), dtype=dtype).save_pretrained(folder)
    return folder


def test_each_parameter_is_the_mean(tmp_path: Path) -> None:
    own = [random_model("tiny", seed=seed).state_dict() for seed in range(3)]
    mean = average_checkpoints([saved(tmp_path / str(seed), seed) for seed in range(3)])
    for name, value in mean.state_dict().items():
        expected = torch.stack([weights[name] for weights in own]).mean(dim=0)
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(own[0]["mask_id_embedding.weight"], own[1]["mask_id_embedding.weight"])


def test_it_is_taken_in_fp32_and_kept_in_the_dtype_of_the_first(tmp_path: Path) -> None:
    folders = [saved(tmp_path / str(seed), seed, torch.bfloat16) for seed in range(2)]
    own = [random_model("tiny", seed=seed, dtype=torch.bfloat16).state_dict() for seed in range(2)]
    mean = average_checkpoints(folders)
    assert mean.dtype == mean.config.text_config.dtype == torch.bfloat16
    for name, value in mean.state_dict().items():
        assert torch.equal(value, ((own[0][name].float() + own[1][name].float()) / 2).to(torch.bfloat16))


def test_what_is_not_of_one_training_is_refused(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "one", 0), saved(tmp_path / "other", 0, roi_size=2)
    with pytest.raises(ValueError, match="expected at least two"):
        average_checkpoints([one])
    with pytest.raises(ValueError, match=r"differ in regions\.roi_size; expected checkpoints that differ"):
        average_checkpoints([one, other])


def test_a_later_rule_of_roi_features_is_that_of_the_mean(tmp_path: Path) -> None:
    earlier = saved(tmp_path / "earlier", 0)
    later = random_model("tiny", seed=1, regions=RegionConfig.isolated(6, 4).with_(roi_features="masked"))
    later.save_pretrained(tmp_path / "later")
    mean = average_checkpoints([earlier, tmp_path / "later"])
    assert mean.config.regions == later.config.regions
    of_two = average_checkpoints([earlier, saved(tmp_path / "same", 1)]).state_dict()
    assert all(torch.equal(value, of_two[name]) for name, value in mean.state_dict().items())
