"""A model from nothing: its image tokens differ as its pictures do, from the first step on."""

import torch

from model.preprocess import normalise
from pdlm_cli.data_engine.scene import draw_scene
from pdlm_cli.training.job import ModelStart, RandomModel
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
