"""Reading checkpoints: the released layouts and our own. The only file of this package that opens files.

A released folder holds `config.json` with model_type `pdmllm` (regions) or `dmllm` (image-level), safetensors, a
tokenizer and `processor_config.json`. Our own is what `save_pretrained` writes. Code that lies in a checkpoint is never
run and pickles are never read.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import safe_open
from transformers import LlamaConfig, PreTrainedTokenizerFast, SiglipVisionConfig
from transformers.utils import logging

from model.config import PerceptionDLMConfig, RegionConfig
from model.tokens import Tokens

RELEASED = ("pdmllm", "dmllm")

# What a released checkpoint holds that is never used: the text tower and the contrastive scale, and of the vision
# tower its head and final norm. Parameters keep the names they have there.
RELEASED_UNUSED = re.compile(r"vision_model\.(text_model|logit_\w+|vision_model\.(head|post_layernorm))\b")
VISION_BLOCK = re.compile(r"vision_model\.vision_model\.encoder\.layers\.(\d+)\.")


# --- where ------------------------------------------------------------------------------------------------------


def resolve(source: str | Path) -> Path:
    """The local folder of a checkpoint: `source` itself, or the copy of a hub id, fetched if need be.

    Raises ValueError if there is no such folder or hub id, or the hub cannot be reached.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(snapshot_download(str(source), allow_patterns=wanted))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"no checkpoint at {str(source)!r}: expected a folder with config.json and safetensors, or the id of a "
            f"model on the hub that is in the local cache or can be fetched; found neither ({type(error).__name__})"
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, sharded or not. Raises ValueError if there are none."""
    index = folder / "model.safetensors.index.json"
    names = sorted(set(_read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
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


# --- what -------------------------------------------------------------------------------------------------------


def read_config(folder: Path) -> PerceptionDLMConfig:
    """The config of a checkpoint in a released layout or our own.

    Raises ValueError naming every field that is missing.
    """
    values = _read_json(folder / "config.json")
    kind = values.get("model_type")
    if kind == PerceptionDLMConfig.model_type:
        return _own_config(folder, values)
    if kind in RELEASED:
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


def check_loaded(folder: Path, config: PerceptionDLMConfig, info: dict[str, Any]) -> None:
    """Raise ValueError unless every parameter came from the file and every tensor of the file was used or is known
    to be of no use. `info` is transformers' loading info."""
    unexpected = [key for key in info["unexpected_keys"] if not _unused(key, config)]
    found = {"missing": info["missing_keys"], "unexpected": unexpected, "of another shape": info["mismatched_keys"]}
    problems = [f"{len(keys)} {what} ({_first_ten(keys)})" for what, keys in found.items() if keys]
    if problems:
        raise ValueError(f"the weights of {folder} do not fit its config.json: {'; '.join(problems)}")


def _unused(key: str, config: PerceptionDLMConfig) -> bool:
    """Whether a released checkpoint holds `key` although nothing reads it."""
    block = VISION_BLOCK.match(key)
    last = config.vision_config.num_hidden_layers + config.vision_select_layer
    return bool(RELEASED_UNUSED.match(key)) or (block is not None and int(block[1]) > last)


def _first_ten(keys: Iterable[Any]) -> str:
    names = sorted(map(str, keys))
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def _own_config(folder: Path, values: dict[str, Any]) -> PerceptionDLMConfig:
    try:
        return PerceptionDLMConfig(**values)
    except TypeError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error


def _released_config(folder: Path, values: dict[str, Any]) -> PerceptionDLMConfig:
    read = _Reader(folder / "config.json", values)
    text, vision = read.part("language_model_config"), read.part("vision_model_config").part("vision_config")
    side, patch, ratio = read("image_size"), read("patch_size"), read("downsample_ratio")
    projection = read.part("vision_abstractor_config")("projection_type")
    if projection != "mlp2x_gelu":
        raise ValueError(f"{read.path}: expected projection_type mlp2x_gelu, found {projection!r}")
    if (vision("image_size"), vision("patch_size")) != (side, patch):
        raise ValueError(f"{read.path}: image_size {side} and patch_size {patch} are not those of vision_model_config")
    regions = None
    if values["model_type"] == "pdmllm":
        regions = RegionConfig.released(read("prompt_numbers"), read("roi_output_size"))
    min_tiles, max_tiles = _released_tiles(folder)
    width = text("hidden_size")
    return PerceptionDLMConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=vision("hidden_size"),
            intermediate_size=vision("intermediate_size"),
            num_hidden_layers=vision("num_hidden_layers"),
            num_attention_heads=vision("num_attention_heads"),
            num_channels=vision("num_channels"),
            hidden_act=vision("hidden_act"),
            layer_norm_eps=vision("layer_norm_eps"),
            image_size=side,
            patch_size=patch,
        ),
        vision_select_layer=values.get("vision_select_layer", -2),
        unshuffle=round(1 / ratio),
        connector_act="gelu",
        text_config=LlamaConfig(
            vocab_size=vocabulary_rows(folder, "language_model.model.embed_tokens.weight"),
            hidden_size=width,
            intermediate_size=text("intermediate_size"),
            num_hidden_layers=text("num_hidden_layers"),
            num_attention_heads=text("num_attention_heads"),
            num_key_value_heads=text("num_key_value_heads"),
            hidden_act=text("hidden_act"),
            max_position_embeddings=text("max_position_embeddings"),
            rms_norm_eps=text("rms_norm_eps"),
            rope_theta=text("rope_theta"),
            attention_bias=values["language_model_config"].get("attention_bias", False),
            bos_token_id=None,
            eos_token_id=None,
        ),
        min_tiles=min_tiles,
        max_tiles=max_tiles,
        regions=regions,
    )


def _released_tiles(folder: Path) -> tuple[int, int]:
    """Fewest and most tiles: from processor_config.json; the released processor's own 1 and 6 where it is absent."""
    path = folder / "processor_config.json"
    if not path.exists():
        return 1, 6
    read = _Reader(path, _read_json(path))
    return read("min_sub_img"), read("max_sub_img")


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


class _Reader:
    """A JSON object whose fields must be there."""

    def __init__(self, path: Path, values: dict[str, Any], inside: str = "") -> None:
        self.path, self.values, self.inside = path, values, inside

    def __call__(self, name: str) -> Any:
        if name not in self.values:
            raise ValueError(f"{self.path}: expected a field {self.inside}{name}, found none")
        return self.values[name]

    def part(self, name: str) -> "_Reader":
        return _Reader(self.path, self(name), f"{self.inside}{name}.")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ValueError(f"{path.parent} lacks {path.name}: is it a checkpoint?")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values
