"""A base model from checkpoints laid out as LLaDA-8B-Instruct and SigLIP-2 are, at tiny size."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import SiglipConfig, SiglipModel

from model.assemble import assemble_base
from model.checkpoint import tensor_shapes
from model.pdlm import load_model
from model.sizes import byte_tokenizer
from model.tokens import TEXT_TOKENS

WIDTH, MLP, HEADS, LAYERS, ROWS = 32, 48, 4, 2, 320
LLADA = {
    "model_type": "llada",
    "d_model": WIDTH,
    "mlp_hidden_size": MLP,
    "n_heads": HEADS,
    "n_kv_heads": HEADS,
    "n_layers": LAYERS,
    "max_sequence_length": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "embedding_size": ROWS,
}


def llada_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    weights = {
        "model.transformer.wte.weight": draw(ROWS, WIDTH),
        "model.transformer.ln_f.weight": draw(WIDTH),
        "model.transformer.ff_out.weight": draw(ROWS, WIDTH),
    }
    for i in range(LAYERS):
        block = f"model.transformer.blocks.{i}"
        weights |= {f"{block}.{name}.weight": draw(WIDTH, WIDTH) for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
        weights |= {f"{block}.{name}.weight": draw(MLP, WIDTH) for name in ("ff_proj", "up_proj")}
        weights |= {f"{block}.{name}.weight": draw(WIDTH) for name in ("attn_norm", "ff_norm")}
        weights[f"{block}.ff_out.weight"] = draw(WIDTH, MLP)
    return weights


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    llada, siglip = tmp_path / "llada", tmp_path / "siglip"
    llada.mkdir()
    (llada / "config.json").write_text(json.dumps(LLADA))
    save_file(llada_weights(), llada / "model.safetensors", metadata={"format": "pt"})
    byte_tokenizer(TEXT_TOKENS).save_pretrained(llada)
    vision = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    vision |= {"image_size": 64, "patch_size": 16}
    text = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    SiglipModel(SiglipConfig(vision_config=vision, text_config={**text, "vocab_size": 50})).save_pretrained(siglip)
    return llada, siglip


def test_every_tensor_finds_its_place(parts: tuple[Path, Path], tmp_path: Path):
    model = assemble_base(*parts)
    state, weights = model.state_dict(), llada_weights()
    layer, block = "language_model.model.layers.1", "model.transformer.blocks.1"
    for ours, theirs in {
        f"{layer}.self_attn.o_proj.weight": f"{block}.attn_out.weight",
        f"{layer}.self_attn.k_proj.weight": f"{block}.k_proj.weight",
        f"{layer}.mlp.gate_proj.weight": f"{block}.ff_proj.weight",
        f"{layer}.mlp.up_proj.weight": f"{block}.up_proj.weight",
        f"{layer}.mlp.down_proj.weight": f"{block}.ff_out.weight",
        f"{layer}.input_layernorm.weight": f"{block}.attn_norm.weight",
        f"{layer}.post_attention_layernorm.weight": f"{block}.ff_norm.weight",
        "language_model.model.embed_tokens.weight": "model.transformer.wte.weight",
        "language_model.model.norm.weight": "model.transformer.ln_f.weight",
        "language_model.lm_head.weight": "model.transformer.ff_out.weight",
    }.items():
        assert torch.equal(state[ours], weights[theirs]), ours
    vision = SiglipModel.from_pretrained(parts[1]).vision_model.state_dict()
    prefix = "vision_model.vision_model."
    for name in ("embeddings.patch_embedding.weight", "encoder.layers.1.mlp.fc2.bias"):
        assert torch.equal(state[prefix + name], vision[name])

    model.save_pretrained(tmp_path / "base")
    again = load_model(tmp_path / "base", dtype=torch.float32, device=torch.device("cpu"))
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    assert again.tokens.encode("a") == model.tokens.encode("a")


def test_the_connector_depends_on_the_seed_alone(parts: tuple[Path, Path]):
    first, second, other = (assemble_base(*parts, seed=seed).vision_abstractor for seed in (0, 0, 1))
    name = "projection.0.weight"
    assert torch.equal(first.state_dict()[name], second.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])


def test_vocabulary_grows_only_if_it_must(parts: tuple[Path, Path]):
    llada, siglip = parts
    assert len(assemble_base(llada, siglip).language_model.lm_head.weight) == ROWS
    weights = llada_weights()
    for name in ("wte", "ff_out"):
        weights[f"model.transformer.{name}.weight"] = weights[f"model.transformer.{name}.weight"][:280].clone()
    save_file(weights, llada / "model.safetensors", metadata={"format": "pt"})
    grown = assemble_base(llada, siglip)
    assert len(grown.language_model.lm_head.weight) == len(grown.tokens.tokenizer) > 280
    assert torch.equal(grown.language_model.lm_head.weight[:280], weights["model.transformer.ff_out.weight"])


def test_llama_names_and_tower_without_prefix_are_understood(parts: tuple[Path, Path]):
    llada, siglip = parts
    base = assemble_base(llada, siglip)
    config = {
        "hidden_size": WIDTH,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
    }
    (llada / "config.json").write_text(json.dumps(config))
    state = base.state_dict()
    renamed = {n.removeprefix("language_model."): v for n, v in state.items() if n.startswith("language_model.")}
    save_file(renamed, llada / "model.safetensors", metadata={"format": "pt"})
    vision = SiglipModel.from_pretrained(siglip).vision_model
    save_file(vision.state_dict(), siglip / "model.safetensors", metadata={"format": "pt"})
    assert dict(tensor_shapes(siglip)).keys() == vision.state_dict().keys()
    again = assemble_base(llada, siglip).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.items())


def test_unknown_tensors_are_listed(parts: tuple[Path, Path]):
    llada, siglip = parts
    save_file({**llada_weights(), "other.weight": torch.zeros(1)}, llada / "model.safetensors")
    with pytest.raises(ValueError, match=r"1 tensors of unknown name: other\.weight"):
        assemble_base(llada, siglip)
