"""A model from nothing: its image tokens differ as its pictures do, from the first step on."""

import pytest
import torch

from model.preprocess import normalise
from pdlm_cli.data_engine.scene import draw_scene
from pdlm_cli.errors import ConfigError
from pdlm_cli.training.job import ModelStart, RandomModel, RegionSemantics
from pdlm_cli.training.start import start_model

RANDOM = RandomModel(vision=(192, 768, 6, 3), text=(64, 96, 1, 1), tile=128, patch=8, vocabulary=384)


def test_image_tokens_are_about_pictures_and_as_strong_as_what_blocks_add():
    model = start_model(ModelStart(random=RANDOM), seed=0, texts=["a red circle."])
    pictures = [torch.from_numpy(draw_scene(0, index, 2).picture) for index in range(16)]
    tiles = torch.stack(pictures).permute(0, 3, 1, 2)
    with torch.no_grad():
        tokens = model.vision_abstractor(model.vision_model(normalise(tiles)))
    own, common = tokens.std(dim=0).mean(), tokens.mean(dim=0).abs().mean()
    assert 0.2 < own < 2
    assert own > common / 2


def test_larger_tiles_have_more_of_the_same_patches_at_positions_in_between(tmp_path):
    model = start_model(ModelStart(random=RANDOM), seed=0, texts=["a red circle."])
    positions = model.vision_model.vision_model["embeddings"].position_embedding.weight
    rows = torch.arange(16.0).repeat_interleave(16)
    with torch.no_grad():
        positions.copy_(rows[:, None].expand_as(positions))
    model.save_pretrained(tmp_path)
    larger = start_model(ModelStart(start=str(tmp_path), tile=256), seed=0, texts=())
    assert larger.config.vision_config.image_size == 256
    resized = larger.vision_model.vision_model["embeddings"].position_embedding.weight.reshape(32, 32, -1)
    assert torch.allclose(resized[4:28, 0, 0], torch.arange(4, 28) / 2 - 0.25, atol=1e-3)
    assert torch.allclose(resized[:, 0], resized[:, 31], atol=1e-4)
    others = {name: value for name, value in larger.state_dict().items() if "position_embedding" not in name}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in others.items())
    with pytest.raises(ConfigError, match="tile: expected a multiple of 16 pixels, found 100"):
        start_model(ModelStart(start=str(tmp_path), tile=100), seed=0, texts=())


def test_a_start_may_take_its_roi_tokens_by_another_rule(tmp_path):
    regions = RegionSemantics(max_regions=2, roi_size=2)
    model = start_model(ModelStart(random=RANDOM, regions=regions), seed=0, texts=["a red circle."])
    model.save_pretrained(tmp_path)
    masked = start_model(ModelStart(start=str(tmp_path), roi_features="masked"), seed=0, texts=())
    assert masked.config.regions == model.config.regions.with_(roi_features="masked")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in masked.state_dict().items())
    with pytest.raises(ConfigError, match="roi_features must be one of"):
        start_model(ModelStart(start=str(tmp_path), roi_features="mask"), seed=0, texts=())
    with pytest.raises(ValueError, match=r"new ones have regions\.roi_features"):
        ModelStart(random=RANDOM, regions=regions, roi_features="masked")
    start_model(ModelStart(random=RANDOM), seed=0, texts=["a red circle."]).save_pretrained(tmp_path / "base")
    with pytest.raises(ConfigError, match="expected a start that has regions"):
        start_model(ModelStart(start=str(tmp_path / "base"), roi_features="masked"), seed=0, texts=())
