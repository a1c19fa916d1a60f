"""Which parameters are multiplied, by the part of the model they belong to: what both training and benchmarks count."""

from collections.abc import Iterator

from torch import nn

# In the order that data takes. regions: what region prompts add to patches. head: logits of vocabulary size.
PARTS = {
    "regions": "mask_id_embedding",
    "vision": "vision_model",
    "connector": "vision_abstractor",
    "decoder": "language_model.model",
    "head": "language_model.lm_head",
}


def multiplied(model: nn.Module) -> Iterator[tuple[str, str, nn.Parameter]]:
    """Part, name and parameter of everything that rows are multiplied with; what is only looked up is left out."""
    named = list(model.named_parameters())
    for part, prefix in PARTS.items():
        for name, parameter in named:
            looked_up = "embed_tokens" in name or "position_embedding" in name
            if name.startswith(prefix) and not looked_up:
                yield part, name, parameter
