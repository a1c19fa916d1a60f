"""PerceptionDLM: SigLIP with region prompts, connector, RoI replay, LLaDA under structured attention.

PerceptionDLMBase is the same without regions.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedModel

from model import checkpoint, checkpoint_files
from model.attention import structured_mask
from model.batch import Batch
from model.cache import SpanCache
from model.config import PerceptionDLMConfig
from model.connector import Connector
from model.diffusion import Noise, weighted_entropy
from model.layout import Kind
from model.picture import caption_picture
from model.preprocess import normalise
from model.roi import RELEASED_CELL, replay, replay_masked
from model.tokens import Tokens
from model.vision import RegionVisionTower
from model.words import Both, Words, aims


class PerceptionDLMBase(PreTrainedModel):
    """The image-level model. `tokens` is set by `from_pretrained`, or by hand on a model made from a config."""

    config_class = PerceptionDLMConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ("LlamaDecoderLayer", "SiglipEncoderLayer")

    config: PerceptionDLMConfig
    tokens: Tokens

    def __init__(self, config: PerceptionDLMConfig) -> None:
        super().__init__(config)
        vision, text = config.vision_config, config.text_config
        self.vision_model = RegionVisionTower(vision, config.vision_select_layer)
        self.vision_abstractor = Connector(vision.hidden_size, text.hidden_size, config.unshuffle, config.connector_act)
        self.language_model = LlamaForCausalLM(text)
        self.post_init()

    @classmethod
    def from_pretrained(cls, source: str | Path, **kwargs: Any) -> Self:
        """A checkpoint in a released layout or our own, from a folder or a hub id, in evaluation mode.

        Keyword arguments are transformers' own (dtype, revision, cache_dir, quantization_config, ...). Raises
        ValueError if files, fields or tensors are missing or unexpected, all of them listed.
        """
        revision, cache_dir = kwargs.pop("revision", None), kwargs.pop("cache_dir", None)
        folder = checkpoint_files.resolve(source, revision=revision, cache_dir=cache_dir)
        config = kwargs.pop("config", None) or checkpoint.read_config(folder)
        cls._check_kind(config, folder)
        model = cls._load(folder, folder, config, use_safetensors=True, local_files_only=True, **kwargs)
        model.tokens = checkpoint.read_tokens(folder, config)
        return model

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor], config: PerceptionDLMConfig, tokens: Tokens) -> Self:
        """A model with the given parameters, in their dtype. Raises ValueError unless they fit exactly."""
        dtype = weights["language_model.model.embed_tokens.weight"].dtype
        model = cls._load("the given weights", None, config, state_dict=weights, dtype=dtype)
        model.tokens = tokens
        return model

    @classmethod
    def _load(cls, name: object, folder: Path | None, config: PerceptionDLMConfig, **kwargs: Any) -> Self:
        with checkpoint.quiet():
            model, info = super().from_pretrained(
                folder,
                config=config,
                ignore_mismatched_sizes=True,  # listed with everything else that does not fit
                output_loading_info=True,
                **kwargs,
            )
        checkpoint.check_loaded(name, config, info)
        return model.eval()

    @classmethod
    def _check_kind(cls, config: PerceptionDLMConfig, folder: Path) -> None:
        if config.regions is not None:
            raise ValueError(f"{folder} is a region checkpoint; load it with PerceptionDLM")

    def save_pretrained(self, folder: str | Path, is_main_process: bool = True, **kwargs: Any) -> None:
        """Write config, weights (safetensors, sharded when large) and tokenizer, over a checkpoint that lies there."""
        tokenizer = self.tokens.tokenizer
        if is_main_process:
            checkpoint_files.remove_weights(Path(folder))
        with checkpoint.quiet():
            super().save_pretrained(folder, is_main_process=is_main_process, **kwargs)
        if is_main_process:
            checkpoint_files.make_readable(Path(folder))
            tokenizer.save_pretrained(folder)

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def forward(self, batch: Batch, aim: Noise | Words | Both | None = None) -> Tensor:
        """(B, R, G, V) logits at the slots of the batch; with something to aim at, the training loss instead."""
        if aim is not None:
            return self.loss(batch, aim)
        hidden = self.run(self.embed(batch), batch)
        return self.logits(hidden, batch.slots)

    def loss(self, batch: Batch, aim: Noise | Words | Both) -> Tensor:
        """Scalar training loss: of texts, of words, or of both from one look at the pictures."""
        features = self.features(batch, RELEASED_CELL["training"])
        noise, words = aims(aim)
        losses = [self.text_loss(batch, features, noise)] if noise is not None else []
        losses += [self.word_loss(features, words)] if words is not None else []
        return torch.stack(losses).sum()

    def text_loss(self, batch: Batch, features: "Features", noise: Noise) -> Tensor:
        """Equation 2 over a batch of which the model sees the tokens of `noise`."""
        noisy = replace(batch, input_ids=noise.tokens)
        hidden = self.run(self.fuse(noisy, features), batch)
        weights = noise.weights(batch.labelled)
        counted = weights > 0  # logits of vocabulary size only where they are needed
        logits = self.language_model.lm_head(hidden[counted])
        return weighted_entropy(logits, batch.input_ids[counted], weights[counted])

    def word_loss(self, features: "Features", words: Words) -> Tensor:
        """Of a batch of regions whose captions are not to be written, only their words to be named."""
        if features.rois is None:
            raise ValueError("words are learnt from regions, which this batch does not have")
        asked = torch.cat([features.rois.mean(dim=1), features.tiles.flatten(0, 1)[words.shown]])
        return words.loss(self.language_model.lm_head(asked))

    def embed(self, batch: Batch, cell: int = RELEASED_CELL["inference"]) -> Tensor:
        """(B, L, D): what enters the decoder, image features in their places. `cell`: see `replay`."""
        return self.fuse(batch, self.features(batch, cell))

    def features(self, batch: Batch, cell: int) -> "Features":
        """What the decoder is shown of the pictures of a batch."""
        return Features(self.encode(batch), None)

    def fuse(self, batch: Batch, features: "Features") -> Tensor:
        """(B, L, D): embedded tokens, features in their places."""
        embeds = self.language_model.model.embed_tokens(batch.input_ids)
        embeds = _put(embeds, batch.image, features.tiles.flatten(0, 1))
        return embeds if features.rois is None else _put(embeds, batch.kind == Kind.ROI, features.rois.flatten(0, 1))

    def encode(self, batch: Batch) -> Tensor:
        """(sum of T, tokens_per_tile, D): image tokens of every tile."""
        pixels = normalise(batch.tiles).to(self.dtype)
        return self.vision_abstractor(self.vision_model(pixels, self.region_prompts(batch)))

    def region_prompts(self, batch: Batch) -> Tensor | None:
        """(sum of T, g * g, C): what regions add to the patch embeddings."""
        return None

    def run(self, embeds: Tensor, batch: Batch, rows: slice = slice(None), cache: SpanCache | None = None) -> Tensor:
        """(B, Q, D): hidden states of the rows that `embeds` (B, Q, D) are the inputs of.

        With a cache, rows before `rows` are remembered and rows after it do not exist.
        """
        start, stop, _ = rows.indices(batch.input_ids.shape[1])
        if cache is not None:
            cache.aim(slice(start, stop))
        first = start if cache is None else 0
        rows, columns = slice(start, stop), slice(first, stop)
        mask = structured_mask(batch.kind, batch.region, self.attention, rows, columns, batch.twin)
        if self.config.text_config._attn_implementation == "eager":  # which adds the mask to the scores
            mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(embeds.dtype).min)
            mask = mask.to(embeds.dtype)
        output = self.language_model.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=batch.position_ids[:, start:stop],
            past_key_values=cache,
            use_cache=False,
        )
        return output.last_hidden_state

    @property
    def attention(self) -> str:
        return "released" if self.config.regions is None else self.config.regions.attention

    def logits(self, hidden: Tensor, at: Tensor) -> Tensor:
        """(B, R, G, V) logits where `at` (B, R, G) points into hidden (B, Q, D); -1 points anywhere."""
        index = at.clamp(min=0).flatten(1).unsqueeze(2).expand(-1, -1, hidden.shape[2])
        return self.language_model.lm_head(hidden.gather(1, index)).unflatten(1, at.shape[1:])


class PerceptionDLM(PerceptionDLMBase):
    """The region model: a pass of up to `config.regions.max_regions` regions of one picture."""

    def __init__(self, config: PerceptionDLMConfig) -> None:
        super().__init__(config)
        assert config.regions is not None
        self.mask_id_embedding = nn.Embedding(config.regions.max_regions, config.vision_config.hidden_size)
        self.post_init()

    @classmethod
    def _check_kind(cls, config: PerceptionDLMConfig, folder: Path) -> None:
        if config.regions is None:
            raise ValueError(f"{folder} is an image-level checkpoint, without regions; load it with PerceptionDLMBase")

    def features(self, batch: Batch, cell: int) -> "Features":
        """RoI features too."""
        if not self.config.roi_tokens or not any(len(own) for own in batch.boxes):  # or image-level questions
            return super().features(batch, cell)
        tiles = self.encode(batch)
        return Features(tiles, self.rois(tiles, batch, cell))

    def rois(self, tiles: Tensor, batch: Batch, cell: int) -> Tensor:
        """(regions of the batch, size * size, D): their RoI tokens, of image tokens (sum of T, n * n, D)."""
        assert self.config.regions is not None
        own, rule, size = tiles.split(batch.tile_counts), self.config.regions.roi_features, self.config.regions.roi_size
        if rule == "masked":
            return torch.cat(replay_masked(own, batch.grids, batch.boxes, batch.masks, size))
        return torch.cat(replay(own, batch.grids, batch.boxes, rule=rule, size=size, cell=cell))

    def region_prompts(self, batch: Batch) -> Tensor | None:
        if batch.footprints is None:
            return None
        return batch.footprints.to(self.dtype).transpose(1, 2) @ self.mask_id_embedding.weight

    caption = caption_picture  # a method that only calls the model, so it stands in a file of its own


@dataclass(frozen=True)
class Features:
    """What the decoder is shown of the pictures of a batch. tiles: (sum of T, tokens_per_tile, D). rois: (regions of
    the batch, size * size, D), None without regions."""

    tiles: Tensor
    rois: Tensor | None


def _put(embeds: Tensor, where: Tensor, features: Tensor) -> Tensor:
    """`embeds` (B, L, D) with `features` (N, D) at the N places where `where` (B, L) is true, in order."""
    return embeds.masked_scatter(where.unsqueeze(2), features.to(embeds.dtype))


def load_model(source: str | Path, *, dtype: torch.dtype | Literal["auto"], device: torch.device) -> PerceptionDLMBase:
    """The model of a checkpoint, a `PerceptionDLM` if it has regions, ready to decode. dtype: auto for its own."""
    folder = checkpoint_files.resolve(source)
    kind = PerceptionDLMBase if checkpoint.read_config(folder).regions is None else PerceptionDLM
    return kind.from_pretrained(folder, dtype=dtype).to(device)
