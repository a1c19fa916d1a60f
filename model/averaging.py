"""One checkpoint from several of the same training: the mean of their weights.

Weights that one run after the other ends with, each at the foot of a learning rate that rose again in between, lie
around a better point than any of them (Izmailov et al. 2018, 1803.05407).
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from model.fields import differing
from model.pdlm import PerceptionDLMBase, load_model

# Of a config and its parts, what says nothing of the model.
APART = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
LATER = ("regions.roi_features",)  # no weight is shaped by it, and training may go on under another


def average_checkpoints(sources: Sequence[str | Path]) -> PerceptionDLMBase:
    """The model of several checkpoints, folders or hub ids, each parameter their mean, taken in fp32 and kept in the
    dtype of the first, the rule of RoI features that of the last. Two models are in memory at a time, one of them in
    fp32.

    Raises ValueError unless they are at least two, and differ in nothing else.
    """
    if len(sources) < 2:
        raise ValueError(f"expected at least two checkpoints to average, found {len(sources)}")
    first, *others = sources
    model = _load(first)
    dtype = model.dtype
    mean = model.float().state_dict()
    for number, source in enumerate(others, start=2):
        other = _load(source)
        _refuse_another(first, model, source, other)
        for name, value in other.state_dict().items():
            mean[name].lerp_(value.float(), 1 / number)
    weights = {name: value.to(dtype) for name, value in mean.items()}
    return type(other).from_weights(weights, other.config, other.tokens)


def _load(source: str | Path) -> PerceptionDLMBase:
    return load_model(source, dtype="auto", device=torch.device("cpu"))


def _refuse_another(first: str | Path, one: PerceptionDLMBase, source: str | Path, other: PerceptionDLMBase) -> None:
    names = [
        name
        for name in differing(one.config.to_dict(), other.config.to_dict())
        if name not in LATER and name.rpartition(".")[2] not in APART
    ]
    if one.tokens.tokenizer.get_vocab() != other.tokens.tokenizer.get_vocab():
        names.append("the tokenizer")
    if names:
        raise ValueError(
            f"{first} and {source} are not of one training, they differ in {', '.join(names)}; expected checkpoints "
            "that differ in their weights alone"
        )
