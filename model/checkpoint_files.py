"""The files of a checkpoint: found, hashed, replaced. Nothing here imports torch."""

import hashlib
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from model.fields import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


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
