"""The loops that captioning is compared with, on the same weights: the published one, and left to right."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from model.batch import Batch
    from model.pdlm import PerceptionDLM


@torch.inference_mode()
def released_steps(
    model: "PerceptionDLM", batch: "Batch", embeds: Tensor, canvas: Tensor, steps: int, count: int
) -> Tensor:
    """The first `count` of `steps` steps of the published loop: the whole sequence in each, logits of every token over
    the whole vocabulary, their softmax in fp64, and one pool of slots.

    batch: of one pass. embeds: (1, L, D). canvas: (N,) ids in all its slots, in order. Returns the canvas after them.
    """
    slots, mask = batch.slots.flatten(), model.tokens.mask
    total = len(slots)
    for step in range(count):
        written = model.language_model.model.embed_tokens(canvas)
        everything = embeds.index_copy(1, slots, written[None].to(embeds.dtype))
        logits = model.language_model.lm_head(model.run(everything, batch))
        guess = logits.argmax(dim=-1)
        probability = logits.double().softmax(dim=-1).gather(-1, guess.unsqueeze(-1)).squeeze(-1)
        canvas = torch.where(canvas == mask, guess[0, slots], canvas)
        worst = probability[0, slots].argsort(stable=True)[: total * (steps - 1 - step) // steps]
        canvas = canvas.index_fill(0, worst, mask)
    return canvas


@torch.inference_mode()
def write_left_to_right(
    decoder: "LlamaForCausalLM", prompt: Tensor, length: int, *, cached: bool = True
) -> tuple[Tensor, Tensor]:
    """The `length` likeliest tokens, one after the other, whatever they are: (length,), and their logits (length, V).

    prompt: (1, P, D) embedded. cached: keys and values are kept; without, everything is computed again for every token.
    """
    from transformers import DynamicCache

    cache = DynamicCache(config=decoder.config) if cached else None
    embed = decoder.model.embed_tokens
    entered, tokens, scores = prompt, [], []
    for _ in range(length):
        output = decoder(inputs_embeds=entered, past_key_values=cache, use_cache=cached, logits_to_keep=1)
        scores.append(output.logits[0, -1])
        tokens.append(scores[-1].argmax())
        written = embed(tokens[-1]).view(1, 1, -1).to(prompt.dtype)
        entered = written if cached else torch.cat([entered, written], dim=1)
    return torch.stack(tokens), torch.stack(scores)
