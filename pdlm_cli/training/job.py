"""What `pdlm train` is asked to do: a YAML file and `key=value` changes to it, checked field by field."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pdlm_cli import strict_yaml
from pdlm_cli.errors import ConfigError
from pdlm_cli.training.job_data import Data
from pdlm_cli.training.typed_fields import at_least, between, read_settings, set_field

# The parts of the model that can be frozen or get a learning rate of their own, and how their parameters' names begin.
MODULES = {
    "vision": "vision_model.",
    "connector": "vision_abstractor.",
    "decoder": "language_model.",
    "regions": "mask_id_embedding.",
}


@dataclass(frozen=True, kw_only=True)
class RandomModel:
    """A model of random weights: a named size, or widths of its own.

    size: a name that `pdlm convert random --size` knows. vision, text: width, MLP width, blocks, heads. tile, patch:
    pixels. max_tiles: that a picture may be cut into, the thumbnail not counted. tokenizer: folder of a tokenizer with
    the special tokens. vocabulary: tokens of one that is learnt from the texts of the data instead; one token a byte
    if both are null.
    """

    size: str | None = None
    vision: tuple[int, int, int, int] | None = None
    text: tuple[int, int, int, int] | None = None
    tile: int | None = None
    patch: int | None = None
    max_tiles: int = 6
    tokenizer: str | None = None
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        own = (self.vision, self.text, self.tile, self.patch)
        if (self.size is None) == (None in own) or (self.size is not None and own != (None,) * 4):
            raise ValueError("size: expected either this, or all of vision, text, tile and patch")
        if self.tokenizer is not None and self.vocabulary is not None:
            raise ValueError("tokenizer: expected either this or vocabulary, found both")
        for name in ("tile", "patch", "max_tiles"):
            at_least(name, getattr(self, name), 1)
        for name in ("vision", "text"):
            for value in getattr(self, name) or ():
                at_least(name, value, 1)


@dataclass(frozen=True, kw_only=True)
class RegionSemantics:
    """Regions of a model that has none yet: see model.config.RegionConfig; a field that is null follows `semantics`."""

    semantics: Literal["isolated", "released"] = "isolated"
    max_regions: int = 6
    roi_size: int = 4
    attention: str | None = None
    positions: str | None = None
    roi_features: str | None = None
    footprint: str | None = None
    binding: str | None = None
    budget: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_regions", "roi_size"):
            at_least(name, getattr(self, name), 1)


@dataclass(frozen=True, kw_only=True)
class ModelStart:
    """Where training starts. start: checkpoint folder or hub id. random: a model of random weights instead.
    image_level: what the start knows of regions is left behind. regions: turns an image-level start into a region
    model; null keeps what the start is. roi_features: another rule for those of a start that has regions. tile: side in
    pixels of larger or smaller tiles than the start has; its position embeddings are resized."""

    start: str | None = None
    random: RandomModel | None = None
    image_level: bool = False
    regions: RegionSemantics | None = None
    roi_features: str | None = None
    tile: int | None = None

    def __post_init__(self) -> None:
        if (self.start is None) == (self.random is None):
            raise ValueError("start: expected either this or random")
        if self.image_level and (self.start is None or self.regions is not None):
            raise ValueError("image_level: expected a start that knows regions, and no regions to begin with")
        if self.roi_features is not None and (self.start is None or self.image_level or self.regions is not None):
            raise ValueError(
                "roi_features: expected a start that keeps its regions; new ones have regions.roi_features"
            )
        if self.tile is not None and self.start is None:
            raise ValueError("tile: expected a start whose tiles change; a random model has random.tile")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW under a cosine schedule. method: muon for matrices in place of AdamW, which learns from fewer samples where
    little is known yet. module_lr: learning rates of single modules. freeze: modules that stay as they are. warmup:
    share of the steps. clip: largest norm of the gradient, 0 for any."""

    lr: float
    method: Literal["adamw", "muon"] = "adamw"
    module_lr: dict[str, float] | None = None
    freeze: tuple[str, ...] = ()
    warmup: float = 0.03
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip: float = 1.0

    def __post_init__(self) -> None:
        at_least("lr", self.lr, above=0)
        for field, names in (("freeze", self.freeze), ("module_lr", self.module_lr or ())):
            for name in names:
                if name not in MODULES:
                    raise ValueError(f"{field}: expected modules among {', '.join(MODULES)}, found {name!r}")
        for name, rate in (self.module_lr or {}).items():
            at_least(f"module_lr.{name}", rate, above=0)
        if set(self.freeze) == set(MODULES):
            raise ValueError("freeze: expected a module that is left to train, found all of them")
        for name in ("weight_decay", "clip", "eps"):
            at_least(name, getattr(self, name), 0)
        between("warmup", self.warmup, 0, 1)
        for beta in self.betas:
            if not 0 <= beta < 1:
                raise ValueError(f"betas: expected numbers from 0 to below 1, found {beta}")


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Adapters of low rank that learn in place of the decoder's own parameters. rank: of each. alpha: an adapter counts
    alpha / rank. dropout: of what goes into them. targets: names of the matrices that get one."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    def __post_init__(self) -> None:
        at_least("rank", self.rank, 1)
        at_least("alpha", self.alpha, above=0)
        between("dropout", self.dropout, 0, 1)
        if not self.targets:
            raise ValueError("targets: expected at least one name, found none")


@dataclass(frozen=True, kw_only=True)
class Noising:
    """How samples are noised. times: each sample's time drawn alone (uniform), or one from each of as many even parts
    of [0, 1] as a step has samples (stratified). twins: each caption of a region is learnt twice from one look at the
    picture, hidden the second time where it was shown the first (complementary masking, LaViDa, Li et al. 2025).
    replace: share of the hit positions that get a random token in place of the mask token; above 0 the loss is over all
    labels alike."""

    times: Literal["uniform", "stratified"] = "uniform"
    twins: bool = False
    replace: float = 0.0

    def __post_init__(self) -> None:
        between("replace", self.replace, 0, 1)
        if self.twins and self.replace:
            raise ValueError("twins: expected replace 0, for what is replaced is not hidden")


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """log, eval, save: every this many steps; eval 0 for never. keep: checkpoints that stay. samples: held-out samples
    an evaluation looks at. steps: denoising steps of their captions. to: tensorboard, wandb, ... of transformers."""

    log: int = 10
    eval: int = 0
    save: int = 500
    keep: int = 2
    samples: int = 8
    steps: int = 32
    to: tuple[str, ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        for name, least in {"log": 1, "eval": 0, "save": 1, "keep": 2, "samples": 1, "steps": 1}.items():
            at_least(name, getattr(self, name), least)


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Everything `pdlm train` was asked for.

    output: folder of the run. batch: samples of an optimizer step, over all processes. micro_batch: samples of one
    forward of one process. epochs, max_steps: how long; exactly one of them. precision: of activations; weights and
    optimizer are fp32. export: what the trained model is written in. device: auto prefers CUDA. strategy: of several
    processes. deepspeed: its JSON configuration, in place of a strategy. objective: to write captions, or only to name
    their words from RoI tokens, which teaches a tower from nothing (see model/words.py), or both at once, where the
    loss of words counts word_share. lora: adapters in place of the whole decoder.
    """

    output: str
    model: ModelStart
    data: Data
    optimizer: Optimizer
    batch: int
    micro_batch: int = 1
    epochs: float | None = None
    max_steps: int | None = None
    precision: Literal["fp32", "bf16"] = "bf16"
    export: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = False
    device: Literal["auto", "cpu"] = "auto"
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    deepspeed: str | None = None
    seed: int = 0
    objective: Literal["captions", "words", "both"] = "captions"
    word_share: float = 0.03
    lora: Lora | None = None
    noise: Noising = Noising()
    report: Reporting = Reporting()

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.max_steps is None):
            found = "none" if self.epochs is None else "both"
            raise ValueError(f"epochs: expected either this or max_steps, found {found}")
        at_least("epochs", self.epochs, above=0)
        at_least("max_steps", self.max_steps, 1)
        at_least("micro_batch", self.micro_batch, 1)
        between("seed", self.seed, 0, 2**63 - 1)
        if self.batch < 1 or self.batch % self.micro_batch:
            raise ValueError(f"batch: expected a multiple of micro_batch {self.micro_batch}, found {self.batch}")
        if self.lora is not None and "decoder" in self.optimizer.freeze:
            raise ValueError("optimizer.freeze: lora trains only adapters of the decoder already; leave decoder out")
        if self.optimizer.method == "muon" and (self.deepspeed is not None or self.strategy != "ddp"):
            raise ValueError("optimizer.method: muon needs whole matrices; expected strategy ddp without deepspeed")
        if self.deepspeed is not None and self.strategy != "ddp":
            raise ValueError(f"deepspeed: expected either this or strategy {self.strategy}, found both")
        kinds = {source.kind for source in (*self.data.sources, *self.data.held_out)}
        at_least("word_share", self.word_share, above=0)
        if self.objective == "words" and "chat" in kinds:
            raise ValueError("objective: words are learnt from regions, found data of another kind")
        if self.report.eval and not self.data.held_out:
            raise ValueError("report.eval: expected data.held_out to evaluate on, found none")

    def accumulation(self, processes: int) -> int:
        """Forwards of one process between two optimizer steps. Raises ValueError if they do not come out even."""
        at_once = self.micro_batch * processes
        if self.batch % at_once:
            raise ValueError(
                f"batch: expected a multiple of micro_batch x processes = {self.micro_batch} x {processes}, "
                f"found {self.batch}"
            )
        return self.batch // at_once

    def to_dict(self) -> dict[str, Any]:
        """Plain values that YAML and JSON hold, and `read_settings` reads back."""
        plain: dict[str, Any] = _listed(asdict(self))
        return plain


def load_job(path: Path, changes: Sequence[str] = ()) -> TrainJob:
    """The job of a YAML file, after changes such as `optimizer.lr=1e-4` or `data.sources.0.path=x.json`.

    Raises ConfigError if the file cannot be read or a field is unknown, missing or not what it should be.
    """
    try:
        values = strict_yaml.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise ConfigError(f"{path}: expected fields of a training job, such as output: out/train; found {found}")
    try:
        return read_settings(TrainJob, changed(values, changes))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def changed(values: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A copy of nested `values` after `key=value` changes, values read as YAML. Raises ValueError."""
    values = copy.deepcopy(values)
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not name:
            raise ValueError(f"expected key=value, found {change!r}")
        try:
            set_field(values, name, yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise ValueError(f"{name}: cannot read {text!r} as YAML: {error}") from error
    return values


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, tuple) else value
