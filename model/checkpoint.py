"""Reading checkpoints: the released layouts and our own. Files are opened here and, for JSON, in `fields`.

A released folder holds `config.json` with model_type `pdmllm` (regions) or `dmllm` (image-level), safetensors, a
tokenizer and `processor_config.json`. Our own is what `save_pretrained` writes. Code that lies in a checkpoint is never
run and pickles are never read.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from model import released
from model.checkpoint_files import weight_files
from model.config import PerceptionDLMConfig
from model.fields import Fields, read_json
from model.tokens import Tokens


def read_config(folder: Path) -> PerceptionDLMConfig:
    """The config of a checkpoint in a released layout or our own.

    Raises ValueError naming every field that is missing.
    """
    values = read_json(folder / "config.json")
    kind = values.get("model_type")
    if kind == PerceptionDLMConfig.model_type:
        return _own_config(folder, values)
    if kind in released.KINDS:
        return _released_config(folder, values)
    raise ValueError(
        f"{folder / 'config.json'}: expected model_type {PerceptionDLMConfig.model_type}, pdmllm or dmllm, found "
        f"{kind!r}"
    )


def read_tokens(folder: Path, config: PerceptionDLMConfig) -> Tokens:
    """The tokenizer of a checkpoint with its special ids. Raises ValueError if files or special tokens are missing."""
    if not (folder / "tokenizer.json").exists():
        raise ValueError(f"{folder} lacks tokenizer.json")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    return Tokens.resolve(tokenizer, config.regions.max_regions if config.regions is not None else 0)


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without its bars and reports: what does not fit is raised, not logged."""
    level = logging.get_verbosity()
    bar = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def check_loaded(name: object, config: PerceptionDLMConfig, info: dict[str, Any]) -> None:
    """Raise ValueError unless every parameter came from the file and every tensor of the file was used or is known
    to be of no use. `info` is transformers' loading info."""
    unexpected = [key for key in info["unexpected_keys"] if not released.is_unused(key, config)]
    found = {"missing": info["missing_keys"], "unexpected": unexpected, "of another shape": info["mismatched_keys"]}
    problems = [f"{len(keys)} {what} ({_first_ten(keys)})" for what, keys in found.items() if keys]
    if problems:
        raise ValueError(f"the weights of {name} do not fit its config.json: {'; '.join(problems)}")


def _first_ten(keys: Iterable[Any]) -> str:
    names = sorted(map(str, keys))
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def _own_config(folder: Path, values: dict[str, Any]) -> PerceptionDLMConfig:
    try:
        return PerceptionDLMConfig(**values)
    except TypeError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error


def _released_config(folder: Path, values: dict[str, Any]) -> PerceptionDLMConfig:
    processor = folder / "processor_config.json"
    return released.translate(
        Fields(folder / "config.json", values),
        Fields(processor, read_json(processor)) if processor.exists() else None,
        vocabulary_rows(folder, "language_model.model.embed_tokens.weight"),
    )


def vocabulary_rows(folder: Path, key: str) -> int:
    """Rows of the embedding `key` in the file: the tokenizer adds tokens that config.json does not count."""
    for name, shape in tensor_shapes(folder):
        if name == key:
            return shape[0]
    raise ValueError(f"the weights of {folder} lack {key}")


def tensor_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor of a checkpoint, from the headers alone."""
    for path in weight_files(folder):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118, safe_open is no mapping
                yield name, tuple(file.get_slice(name).get_shape())
