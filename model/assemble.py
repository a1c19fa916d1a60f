"""A fresh image-level model from LLaDA-8B-Instruct and SigLIP-2: where base training starts.

Decoder and vision tower are taken over, the connector is new. The tokenizer gets the image and region tokens; LLaDA's
embedding has spare rows for them.
"""

import re
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import LlamaConfig, PreTrainedTokenizerFast

from model import checkpoint_files
from model.config import PerceptionDLMConfig
from model.connector import Connector
from model.fields import Fields, read_json
from model.pdlm import PerceptionDLMBase
from model.released import siglip_vision_config
from model.tokens import IMAGE_TOKENS, REGION_TOKENS, Tokens

# LLaDA's own names -> ours.
LLADA_KEYS = {
    r"model\.transformer\.wte\.": "language_model.model.embed_tokens.",
    r"model\.transformer\.blocks\.(\d+)\.attn_norm\.": r"language_model.model.layers.\1.input_layernorm.",
    r"model\.transformer\.blocks\.(\d+)\.([qkv])_proj\.": r"language_model.model.layers.\1.self_attn.\2_proj.",
    r"model\.transformer\.blocks\.(\d+)\.attn_out\.": r"language_model.model.layers.\1.self_attn.o_proj.",
    r"model\.transformer\.blocks\.(\d+)\.ff_norm\.": r"language_model.model.layers.\1.post_attention_layernorm.",
    r"model\.transformer\.blocks\.(\d+)\.ff_proj\.": r"language_model.model.layers.\1.mlp.gate_proj.",
    r"model\.transformer\.blocks\.(\d+)\.up_proj\.": r"language_model.model.layers.\1.mlp.up_proj.",
    r"model\.transformer\.blocks\.(\d+)\.ff_out\.": r"language_model.model.layers.\1.mlp.down_proj.",
    r"model\.transformer\.ln_f\.": "language_model.model.norm.",
    r"model\.transformer\.ff_out\.": "language_model.lm_head.",
    r"(model|lm_head)\.": r"language_model.\1.",  # copies of LLaDA that were rewritten in LLaMA's names
}

# SigLIP's names -> ours. transformers 4 wrote a vision tower under `vision_model.`, 5 also writes it without a prefix.
SIGLIP_KEYS = {
    r"vision_model\.(embeddings|encoder|post_layernorm|head)\.": r"vision_model.vision_model.\1.",
    r"(embeddings|encoder|post_layernorm|head)\.": r"vision_model.vision_model.\1.",
    r"(text_model|logit_scale|logit_bias)\b": r"vision_model.\1",
}


def assemble_base(llada: str | Path, siglip: str | Path, *, seed: int = 0) -> PerceptionDLMBase:
    """An image-level model with the weights of `llada` and `siglip`, folders or hub ids, in LLaDA's dtype.

    seed: for the connector and for rows added to the vocabulary. Raises ValueError on missing or unexpected tensors.
    """
    llada_folder, siglip_folder = checkpoint_files.resolve(llada), checkpoint_files.resolve(siglip)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(llada_folder, local_files_only=True)
    tokenizer.add_special_tokens({"additional_special_tokens": [*IMAGE_TOKENS, *REGION_TOKENS]})
    weights = {**_renamed(llada_folder, LLADA_KEYS), **_renamed(siglip_folder, SIGLIP_KEYS)}
    rows = max(len(tokenizer), len(weights["language_model.model.embed_tokens.weight"]))
    siglip_fields = Fields(siglip_folder / "config.json", read_json(siglip_folder / "config.json"))
    config = PerceptionDLMConfig(
        vision_config=siglip_vision_config(siglip_fields.part("vision_config")),
        vision_select_layer=-2,
        unshuffle=2,
        connector_act="gelu",
        text_config=_decoder_config(llada_folder, rows),
        min_tiles=1,
        max_tiles=6,
        regions=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
            weights[name] = _with_rows(weights[name], rows)
        connector = Connector(
            config.vision_config.hidden_size, config.text_config.hidden_size, config.unshuffle, config.connector_act
        )
    dtype = weights["language_model.model.embed_tokens.weight"].dtype
    weights |= {f"vision_abstractor.{name}": value.to(dtype) for name, value in connector.state_dict().items()}
    return PerceptionDLMBase.from_weights(weights, config, Tokens.resolve(tokenizer, max_regions=0))


def _decoder_config(folder: Path, rows: int) -> LlamaConfig:
    """LLaDA's config.json, in its own field names or in LLaMA's."""
    values = read_json(folder / "config.json")
    read = Fields(folder / "config.json", values)
    own = "d_model" in values
    return LlamaConfig(
        vocab_size=rows,
        hidden_size=read("d_model" if own else "hidden_size"),
        intermediate_size=read("mlp_hidden_size" if own else "intermediate_size"),
        num_hidden_layers=read("n_layers" if own else "num_hidden_layers"),
        num_attention_heads=read("n_heads" if own else "num_attention_heads"),
        num_key_value_heads=read("n_kv_heads" if own else "num_key_value_heads"),
        max_position_embeddings=read("max_sequence_length" if own else "max_position_embeddings"),
        rms_norm_eps=read("rms_norm_eps"),
        rope_parameters={"rope_type": "default", "rope_theta": read("rope_theta")},
        bos_token_id=None,
        eos_token_id=None,
    )


def _renamed(folder: Path, keys: dict[str, str]) -> dict[str, Tensor]:
    """All tensors of a checkpoint under our names. Raises ValueError on a name that no rule knows."""
    weights, unknown = {}, []
    for path in checkpoint_files.weight_files(folder):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118, safe_open is no mapping
                rule = next((pattern for pattern in keys if re.match(pattern, name)), None)
                if rule is None:
                    unknown.append(name)
                else:
                    weights[re.sub(rule, keys[rule], name, count=1)] = file.get_tensor(name)
    if unknown:
        raise ValueError(f"{folder} holds {len(unknown)} tensors of unknown name: {', '.join(sorted(unknown)[:10])}")
    return weights


def _with_rows(embedding: Tensor, rows: int) -> Tensor:
    """An embedding with at least `rows` rows, new ones drawn around the mean of the old."""
    missing = rows - len(embedding)
    if missing <= 0:
        return embedding
    mean, spread = embedding.float().mean(dim=0), embedding.float().std(dim=0)
    fresh = mean + spread * torch.randn(missing, embedding.shape[1])
    return torch.cat([embedding, fresh.to(embedding.dtype)])
