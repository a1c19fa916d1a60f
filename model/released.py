"""The released on-disk layouts: what their config.json means here, and what of their weights nothing reads."""

import re

from transformers import LlamaConfig, SiglipVisionConfig

from model.config import PerceptionDLMConfig, RegionConfig
from model.fields import Fields

KINDS = ("pdmllm", "dmllm")  # model_type with regions, and image-level

# The text tower, the contrastive scale, the vision tower's head and final norm. What is used keeps its name.
UNUSED = re.compile(r"vision_model\.(text_model|logit_\w+|vision_model\.(head|post_layernorm))\b")
VISION_BLOCK = re.compile(r"vision_model\.vision_model\.encoder\.layers\.(\d+)\.")


def translate(read: Fields, processor: Fields | None, vocabulary_rows: int) -> PerceptionDLMConfig:
    """Our config for a released config.json and processor_config.json.

    vocabulary_rows: of the embedding in the file, as the tokenizer adds tokens that config.json does not count.
    Raises ValueError naming the first field that is missing or not understood.
    """
    text, vision = read.part("language_model_config"), read.part("vision_model_config").part("vision_config")
    side, patch, ratio = read("image_size"), read("patch_size"), read("downsample_ratio")
    projection = read.part("vision_abstractor_config")("projection_type")
    if projection != "mlp2x_gelu":
        raise ValueError(f"{read.path}: expected projection_type mlp2x_gelu, found {projection!r}")
    if (vision("image_size"), vision("patch_size")) != (side, patch):
        raise ValueError(f"{read.path}: image_size {side} and patch_size {patch} are not those of vision_model_config")
    regions = None
    if read("model_type") == "pdmllm":
        regions = RegionConfig.released(read("prompt_numbers"), read("roi_output_size"))
    width = text("hidden_size")
    return PerceptionDLMConfig(
        vision_config=siglip_vision_config(vision),
        vision_select_layer=read.values.get("vision_select_layer", -2),
        unshuffle=round(1 / ratio),
        connector_act="gelu",
        text_config=LlamaConfig(
            vocab_size=vocabulary_rows,
            hidden_size=width,
            intermediate_size=text("intermediate_size"),
            num_hidden_layers=text("num_hidden_layers"),
            num_attention_heads=text("num_attention_heads"),
            num_key_value_heads=text("num_key_value_heads"),
            hidden_act=text("hidden_act"),
            max_position_embeddings=text("max_position_embeddings"),
            rms_norm_eps=text("rms_norm_eps"),
            rope_parameters={"rope_type": "default", "rope_theta": text("rope_theta")},
            bos_token_id=None,
            eos_token_id=None,
        ),
        # 1 and 6 are the released processor's own, where it wrote no file.
        min_tiles=processor("min_sub_img") if processor else 1,
        max_tiles=processor("max_sub_img") if processor else 6,
        regions=regions,
    )


def siglip_vision_config(vision: Fields) -> SiglipVisionConfig:
    """The tower of a SigLIP config.json; it may leave out what SigLIP's own format has a default for."""
    stated = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "image_size",
        "patch_size",
    )
    optional = ("num_channels", "hidden_act", "layer_norm_eps")
    values = {name: vision(name) for name in stated}
    return SiglipVisionConfig(**values, **{name: vision(name) for name in optional if name in vision.values})


def is_unused(key: str, config: PerceptionDLMConfig) -> bool:
    """Whether a released checkpoint holds `key` although nothing reads it."""
    block = VISION_BLOCK.match(key)
    last = config.vision_config.num_hidden_layers + config.vision_select_layer
    return bool(UNUSED.match(key)) or (block is not None and int(block[1]) > last)
