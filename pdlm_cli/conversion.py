"""Checkpoints made from others, or from nothing, written whole or not at all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pdlm_cli.atomic import open_folder
from pdlm_cli.device import DTYPES
from pdlm_cli.errors import ConfigError
from pdlm_cli.progress import status

if TYPE_CHECKING:
    from model.pdlm import PerceptionDLMBase

# Of the published checkpoint: regions a pass, and RoI tokens along a side.
MAX_REGIONS, ROI_SIZE = 6, 4


def convert_llada(llada: str, siglip: str, seed: int, out: Path) -> None:
    """An image-level base model from LLaDA and SigLIP-2, each a folder or a hub id, into folder `out`.

    seed: of the connector between the two and of new rows of the vocabulary. Raises ConfigError if either is
    not what it should be or `out` exists, OutputError.
    """

    def build() -> "PerceptionDLMBase":
        from model.assemble import assemble_base

        return assemble_base(llada, siglip, seed=seed)

    _make(f"reading {llada} and {siglip}, and joining them", build, out)


def average_weights(checkpoints: Sequence[str], out: Path) -> None:
    """The mean of the weights of checkpoints, folders or hub ids, into folder `out`.

    Raises ConfigError if they are not of one training or `out` exists, OutputError.
    """

    def build() -> "PerceptionDLMBase":
        from model.averaging import average_checkpoints

        return average_checkpoints(checkpoints)

    _make(f"averaging {' and '.join(checkpoints)}", build, out)


def make_random(size: str, semantics: str, dtype: str, seed: int, out: Path) -> None:
    """A region model of random weights, for trying things out and for measuring, into folder `out`.

    semantics: "isolated" or "released", see model.config. dtype: a key of DTYPES. Raises ConfigError for an
    unknown size or if `out` exists, OutputError.
    """

    def build() -> "PerceptionDLMBase":
        import torch

        from model.config import RegionConfig
        from model.sizes import random_model

        regions = RegionConfig.released if semantics == "released" else RegionConfig.isolated
        own = regions(MAX_REGIONS, ROI_SIZE)
        return random_model(size, seed=seed, regions=own, dtype=getattr(torch, DTYPES[dtype]))

    _make(f"drawing the weights of size {size}", build, out)


def _make(doing: str, build: Callable[[], "PerceptionDLMBase"], out: Path) -> None:
    """build: imports what it needs itself, after `out` was looked at, which takes no time."""
    if out.exists():
        raise ConfigError(f"{out} exists already; choose another folder, or remove it first")
    try:
        with status(doing):
            model = build()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    # Beside its final place first: a folder of that name is always a complete checkpoint.
    with open_folder(out) as folder, status(f"writing {out}"):
        model.save_pretrained(folder)
