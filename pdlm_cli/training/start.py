"""The model that training starts from, and which of its parameters learn at which rate."""

import copy
from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from model import checkpoint_files
from model.config import PerceptionDLMConfig, RegionConfig
from model.pdlm import PerceptionDLM, PerceptionDLMBase, load_model
from model.sizes import SIZES, Size, byte_tokenizer, size_config
from model.tokens import IMAGE_TOKENS, REGION_INSTRUCTION, REGION_TOKENS, SYSTEM, TEXT_TOKENS, Tokens
from pdlm_cli.data_engine.tokenizer import train_tokenizer
from pdlm_cli.errors import ConfigError, PdlmError
from pdlm_cli.training.job import MODULES, ModelStart, Optimizer, RandomModel, RegionSemantics
from pdlm_cli.training.lora import is_adapter

PROMPT_SPREAD = 0.02  # of new region prompts
FIRST_BLOCKS, CONNECTOR_GAIN = 0.1, 1.5  # of new towers: what their blocks add, and how much of it is heard
PROMPT_TEXTS = (SYSTEM, "\n" + REGION_INSTRUCTION, "system", "user", "assistant")  # that a tokenizer learns too
POSITIONS = "vision_model.vision_model.embeddings.position_embedding.weight"
SPECIAL_TOKENS = [*TEXT_TOKENS, *IMAGE_TOKENS, *REGION_TOKENS]


def start_model(start: ModelStart, seed: int, texts: Iterable[str]) -> PerceptionDLMBase:
    """The model of the job, weights in fp32. seed: of weights that are new. texts: of the data, only read where a
    vocabulary is learnt from them. Raises ConfigError if there is no such checkpoint or it does not fit."""
    regions = _region_config(start.regions) if start.regions is not None else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            if start.random is not None:
                return _random_model(start.random, regions, texts)
            assert start.start is not None
            model = _checkpoint_model(start.start, regions)
            if start.image_level:
                model = _without_regions(model)
            if start.roi_features is not None:
                model = _with_roi_features(model, start.roi_features)
            return model if start.tile is None else _with_tile(model, start.tile)
        except PdlmError:
            raise
        except ValueError as error:
            raise ConfigError(f"model: {error}") from error


def module_of(name: str) -> str:
    """Which of MODULES a parameter belongs to."""
    return next(module for module, prefix in MODULES.items() if name.startswith(prefix))


def freeze(model: nn.Module, optimizer: Optimizer, *, adapters: bool = False) -> None:
    """Parameters of frozen modules need no gradient, nor, where it has adapters, those that the decoder had before.
    Raises ConfigError if nothing is left."""
    for name, parameter in model.named_parameters():
        module = module_of(name)
        own = adapters and module == "decoder" and not is_adapter(name)
        parameter.requires_grad = module not in optimizer.freeze and not own
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("optimizer.freeze: expected a module of the model that is left to train, found none")


def recompute_activations(model: PerceptionDLMBase) -> None:
    """Keep the inputs of blocks only, and compute what is inside them once more in the backward pass."""
    renamed = hasattr(model, "activation_checkpointing_enable")  # in later releases of transformers 5
    enable = model.activation_checkpointing_enable if renamed else model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def parameter_groups(model: nn.Module, optimizer: Optimizer) -> list[dict[str, Any]]:
    """One group for each module and kind of parameter; gains, biases and embeddings do not decay. `matrices`: whether
    a group is of matrices between hidden states, which Muon is for."""
    groups: dict[tuple[str, bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        module = module_of(name)
        decays = parameter.ndim > 1 and "embed" not in name
        matrix = optimizer.method == "muon" and decays and parameter.ndim == 2 and "lm_head" not in name
        rate = (optimizer.module_lr or {}).get(module, optimizer.lr)
        decay = optimizer.weight_decay if decays else 0.0
        empty = {"params": [], "lr": rate, "weight_decay": decay, "module": module, "matrices": matrix}
        groups.setdefault((module, decays, matrix), empty)["params"].append(parameter)
    return list(groups.values())


def parameter_counts(model: nn.Module) -> dict[str, dict[str, int]]:
    """Trainable and frozen parameters of every module that the model has."""
    counts: dict[str, dict[str, int]] = {}
    for name, parameter in model.named_parameters():
        own = counts.setdefault(module_of(name), {"trainable": 0, "frozen": 0})
        own["trainable" if parameter.requires_grad else "frozen"] += parameter.numel()
    return counts


def _region_config(wanted: RegionSemantics) -> RegionConfig:
    values = asdict(wanted)
    make = RegionConfig.isolated if values.pop("semantics") == "isolated" else RegionConfig.released
    base = make(values.pop("max_regions"), values.pop("roi_size"))
    try:
        return base.with_(**{name: value for name, value in values.items() if value is not None})
    except ValueError as error:
        raise ConfigError(f"model.regions: {error}") from error


def _checkpoint_model(source: str, regions: RegionConfig | None) -> PerceptionDLMBase:
    model = load_model(source, dtype=torch.float32, device=torch.device("cpu"))
    if regions is None or model.config.regions == regions:
        return model
    if model.config.regions is not None:
        raise ValueError(f"{source} has learnt regions of its own; leave regions out to go on with them")
    return _with_regions(model, regions)


def _with_regions(base: PerceptionDLMBase, regions: RegionConfig) -> PerceptionDLM:
    """The image-level model with region prompts, which are new and small beside the patch embeddings."""
    config = _with_region_config(base.config, regions)
    tokens = Tokens.resolve(base.tokens.tokenizer, regions.max_regions)
    prompts = PROMPT_SPREAD * torch.randn(regions.max_regions, config.vision_config.hidden_size)
    return PerceptionDLM.from_weights({**base.state_dict(), "mask_id_embedding.weight": prompts}, config, tokens)


def _without_regions(model: PerceptionDLMBase) -> PerceptionDLMBase:
    """The image-level model under a region model, of the same tokenizer."""
    config = _with_region_config(model.config, None)
    weights = {name: value for name, value in model.state_dict().items() if module_of(name) != "regions"}
    return PerceptionDLMBase.from_weights(weights, config, Tokens.resolve(model.tokens.tokenizer, 0))


def _with_roi_features(model: PerceptionDLMBase, rule: str) -> PerceptionDLM:
    """The same region model whose RoI tokens come from other places; no weight depends on them."""
    if model.config.regions is None:
        raise ValueError("roi_features: expected a start that has regions; an image-level one takes model.regions")
    regions = model.config.regions.with_(roi_features=rule)
    return PerceptionDLM.from_weights(model.state_dict(), _with_region_config(model.config, regions), model.tokens)


def _with_region_config(config: PerceptionDLMConfig, regions: RegionConfig | None) -> PerceptionDLMConfig:
    """A copy that differs in its regions."""
    return _changed(config, {"regions": asdict(regions) if regions is not None else None})


def _with_tile(model: PerceptionDLMBase, tile: int) -> PerceptionDLMBase:
    """The same model for tiles of another size: each patch stays what it was, and there are more of them or fewer.
    Position embeddings are resized as pictures are (the usual way to a ViT of higher resolution, arXiv 2010.11929,
    section 3.2)."""
    vision = model.config.vision_config
    cell = vision.patch_size * model.config.unshuffle
    if tile < cell or tile % cell:
        raise ValueError(f"tile: expected a multiple of {cell} pixels, found {tile}")
    before, after = vision.image_size // vision.patch_size, tile // vision.patch_size
    weights = model.state_dict()
    grid = weights[POSITIONS].T.reshape(1, -1, before, before)
    resized = functional.interpolate(grid, (after, after), mode="bicubic", align_corners=False, antialias=True)
    weights[POSITIONS] = resized.flatten(2).squeeze(0).T.contiguous()
    config = _changed(model.config, {"vision_config": vision.to_dict() | {"image_size": tile}})
    return type(model).from_weights(weights, config, model.tokens)


def _changed(config: PerceptionDLMConfig, fields: dict[str, Any]) -> PerceptionDLMConfig:
    """A copy that differs in these."""
    values = copy.deepcopy(config.to_dict()) | fields
    return PerceptionDLMConfig(**{name: value for name, value in values.items() if name != "model_type"})


def _random_model(wanted: RandomModel, regions: RegionConfig | None, texts: Iterable[str]) -> PerceptionDLMBase:
    if wanted.size is not None:
        if wanted.size not in SIZES:
            raise ValueError(f"random.size must be one of {', '.join(SIZES)}, found {wanted.size!r}")
        size = SIZES[wanted.size]
    else:
        assert wanted.tile and wanted.patch and wanted.vision and wanted.text
        size = Size(wanted.tile, wanted.patch, wanted.vision, wanted.text, 0)
    tokenizer = _tokenizer(wanted, texts)
    config = size_config(size, regions)
    config.max_tiles = wanted.max_tiles
    config.text_config.vocab_size = max(size.vocabulary, len(tokenizer))
    model = PerceptionDLMBase(config) if regions is None else PerceptionDLM(config)
    _make_pictures_heard(model)
    model.tokens = Tokens.resolve(tokenizer, regions.max_regions if regions is not None else 0)
    return model


@torch.no_grad()
def _make_pictures_heard(model: PerceptionDLMBase) -> None:
    """Start a new tower as little more than its patches, and the connector at a gain of one.

    The usual spread of 0.02 makes image tokens so faint beside what blocks add to them, and a tower without its final
    norm adds so much that is the same for all pictures, that a decoder finds nothing to read for tens of thousands of
    samples, and takes image tokens for constants.
    """
    for block in model.vision_model.modules():
        if isinstance(block, SiglipEncoderLayer):
            block.self_attn.out_proj.weight.mul_(FIRST_BLOCKS)
            block.mlp.fc2.weight.mul_(FIRST_BLOCKS)
    for layer in model.vision_abstractor.projection:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=CONNECTOR_GAIN * layer.in_features**-0.5)


def _tokenizer(wanted: RandomModel, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    if wanted.tokenizer is not None:
        return PreTrainedTokenizerFast.from_pretrained(
            checkpoint_files.resolve(wanted.tokenizer), local_files_only=True
        )
    if wanted.vocabulary is None:
        return byte_tokenizer(SPECIAL_TOKENS)
    learnt = train_tokenizer(chain(PROMPT_TEXTS, texts), wanted.vocabulary, SPECIAL_TOKENS)
    return PreTrainedTokenizerFast(tokenizer_object=learnt)
