"""Segmenters of random weights, a few thousand of them, that are sure of everything they draw."""

import json
from pathlib import Path

import torch

SIDE = 128  # pixels of what they see
WIDTH = 32
COLORS = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def write_sam2(folder: Path, *, score: float = 9.0) -> Path:
    """score: before the sigmoid; of every mask."""
    from transformers import Sam2Config, Sam2Model

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 12,
        "embed_dim_per_stage": [12, 24, 48, 96],
        "image_size": [SIDE, SIDE],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [96, 48, 24, 12],
        "backbone_feature_sizes": [[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
        "fpn_hidden_size": WIDTH,
    }
    torch.manual_seed(0)
    model = Sam2Model(Sam2Config(vision_config=vision, **_prompts_and_masks()))
    return _written(model, folder, {"size": {"height": SIDE, "width": SIDE}}, score)


def write_sam3(folder: Path) -> Path:
    """The part of SAM 3 that is asked at points."""
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    patch = 16
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "pretrain_image_size": SIDE // 2,
        "patch_size": patch,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "backbone_feature_sizes": [[scale * SIDE // patch] * 2 for scale in (4, 2, 1)],
        "fpn_hidden_size": WIDTH,
    }
    parts = _prompts_and_masks()
    parts["prompt_encoder_config"]["patch_size"] = patch
    torch.manual_seed(0)
    model = Sam3TrackerModel(Sam3TrackerConfig(vision_config=vision, **parts))
    return _written(model, folder, {"size": {"height": SIDE, "width": SIDE}}, 9.0)


def write_sam(folder: Path) -> Path:
    from transformers import SamConfig, SamModel

    vision = {
        "hidden_size": WIDTH,
        "output_channels": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "num_pos_feats": WIDTH // 2,
        "window_size": 4,
        "global_attn_indexes": [1],
        "mlp_dim": WIDTH,
    }
    torch.manual_seed(0)
    model = SamModel(SamConfig(vision_config=vision, **_prompts_and_masks()))
    return _written(model, folder, {"size": {"longest_edge": SIDE}}, 0.99)


def _prompts_and_masks() -> dict[str, dict[str, int]]:
    prompts = {"hidden_size": WIDTH, "image_size": SIDE, "mask_input_channels": 4}
    masks = {"hidden_size": WIDTH, "mlp_dim": WIDTH, "num_attention_heads": 2, "iou_head_hidden_dim": WIDTH}
    return {"prompt_encoder_config": prompts, "mask_decoder_config": masks}


@torch.no_grad()
def _written(model: torch.nn.Module, folder: Path, settings: dict[str, object], score: float) -> Path:
    """With logits so large that no mask is in doubt."""
    decoder = model.mask_decoder
    decoder.iou_prediction_head.proj_out.weight.zero_()
    decoder.iou_prediction_head.proj_out.bias.fill_(score)
    for head in decoder.output_hypernetworks_mlps:
        head.proj_out.weight.mul_(1e6)
        head.proj_out.bias.mul_(1e6)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, **COLORS}))
    return folder
