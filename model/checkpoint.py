"""Reading checkpoints: the released layouts and our own. Files are opened here and, for JSON, in `fields`.

A released folder holds `config.json` with model_type `pdmllm` (regions) or `dmllm` (image-level), safetensors, a
tokenizer and `processor_config.json`. Our own is what `save_pretrained` writes. Code that lies in a checkpoint is never
run and pickles are never read.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import safe_open
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from model import released
from model.config import PerceptionDLMConfig
from model.fields import Fields, read_json
from model.tokens import Tokens

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


# --- where ------------------------------------------------------------------------------------------------------


def resolve(source: str | Path, *, revision: str | None = None, cache_dir: str | Path | None = None) -> Path:
    """The local folder of a checkpoint: `source` itself, or the copy of a hub id, fetched if need be.

    revision, cache_dir: of the hub id, as huggingface_hub has them.

    Raises ValueError if there is no such folder or hub id, or the hub cannot be reached.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(snapshot_download(str(source), revision=revision, cache_dir=cache_dir, allow_patterns=wanted))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"no checkpoint at {str(source)!r}: expected a folder with config.json and safetensors, or the id of a "
            f"model on the hub that is in the local cache or can be fetched; found neither ({type(error).__name__})"
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, sharded or not. Raises ValueError if there are none."""
    # transformers, too, takes a whole file before shards where a folder holds both.
    names = [WEIGHTS]
    if not (folder / WEIGHTS).exists() and (folder / INDEX).exists():
        names = sorted(set(read_json(folder / INDEX)["weight_map"].values()))
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        pickles = [path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt*"))]
        found = f"; {', '.join(pickles)} is pickled and never read: convert it first" if pickles else ""
        raise ValueError(f"{folder} lacks {', '.join(missing)}{found}")
    return [folder / name for name in names]


def fingerprint(folder: Path) -> str:
    """sha256 over config.json and the weights of a checkpoint."""
    digest = hashlib.sha256()
    for path in (folder / "config.json", *weight_files(folder)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def remove_weights(folder: Path) -> None:
    """Remove the weights of a checkpoint, so that none of an earlier one are taken for those of a new one."""
    for path in (*folder.glob("model*.safetensors"), folder / INDEX):
        path.unlink(missing_ok=True)


def make_readable(folder: Path) -> None:
    """Give weight files the permissions of config.json: safetensors makes files that only their owner can read."""
    mode = (folder / "config.json").stat().st_mode
    for path in weight_files(folder):
        path.chmod(mode)


# --- what -------------------------------------------------------------------------------------------------------


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
