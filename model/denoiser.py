"""Logits at the slots of a batch, with or without a cache: what the denoising rules call once a step."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from model.batch import Batch
from model.cache import SpanCache
from model.sampling import LogitsFn, guided
from model.settings import PREFIX_KEPT, refresh_every

if TYPE_CHECKING:  # the model calls the decoding loops
    from model.pdlm import PerceptionDLMBase


def slot_logits(model: "PerceptionDLMBase", batch: Batch, embeds: Tensor, cache: str, cfg_scale: float) -> LogitsFn:
    """Logits (B, R, G, V) for captions (B, R, G), with classifier-free guidance where `cfg_scale` is above 0.

    Unconditional logits see the mask token in place of the whole prompt, image and regions included.
    """
    logits_fn = CaptionLogits(model, batch, embeds, cache)
    if cfg_scale == 0:
        return logits_fn
    return guided(logits_fn, CaptionLogits(model, batch, blind_prefix(model, batch, embeds), cache), cfg_scale)


class CaptionLogits:
    """Logits (B, R, G, V) at the slots of a batch, for captions (B, R, G), call after call.

    What does not change between calls is computed once: image and RoI features always, keys and values of the prefix
    as far as the cache setting allows.
    """

    def __init__(self, model: "PerceptionDLMBase", batch: Batch, embeds: Tensor, cache: str) -> None:
        self.model, self.batch, self.refresh = model, batch, refresh_every(cache)
        self.prefix = embeds[:, : batch.prefix]
        self.ids = batch.input_ids[:, batch.prefix :]
        self.at = torch.where(batch.slots >= 0, batch.slots - batch.prefix, self.ids.shape[1]).flatten(1)
        self.calls = 0
        self.cache: SpanCache | None = None
        self.exact = cache in PREFIX_KEPT and model.attention == "isolated"
        if self.exact or cache == "frozen" or self.refresh:
            rows, length, _ = embeds.shape
            text = model.config.text_config
            self.cache = SpanCache(text, rows, length, embeds.dtype, embeds.device)
            if self.exact:
                model.run(self.prefix, batch, slice(0, batch.prefix), self.cache)

    def __call__(self, captions: Tensor) -> Tensor:
        prefix = self.batch.prefix
        answer = self.model.language_model.model.embed_tokens(self._write(captions))
        if self._recompute():
            everything = torch.cat([self.prefix, answer], dim=1)
            hidden = self.model.run(everything, self.batch, slice(None), self.cache)[:, prefix:]
        else:
            hidden = self.model.run(answer, self.batch, self.batch.answer, self.cache)
        self.calls += 1
        return self.model.logits(hidden, (self.batch.slots - prefix).clamp(min=0))

    def _recompute(self) -> bool:
        if self.cache is None:
            return True
        if self.exact:
            return False
        return self.calls == 0 if self.refresh == 0 else self.calls % self.refresh == 0

    def _write(self, captions: Tensor) -> Tensor:
        """The answer's ids with `captions` in their slots; slots that do not exist fall off the end."""
        room = F.pad(self.ids, (0, 1))
        return room.scatter(1, self.at, captions.flatten(1))[:, :-1]


def blind_prefix(model: "PerceptionDLMBase", batch: Batch, embeds: Tensor) -> Tensor:
    """`embeds` with the whole prompt, image and regions included, replaced by the mask token."""
    mask = model.language_model.model.embed_tokens(torch.tensor(model.tokens.mask, device=embeds.device))
    return torch.cat([mask.expand_as(embeds[:, : batch.prefix]), embeds[:, batch.prefix :]], dim=1)
