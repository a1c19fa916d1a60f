"""What `pdlm train` is asked to do: a YAML file and `key=value` changes to it, checked field by field."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pdlm_cli.data_engine.scene import check
from pdlm_cli.errors import ConfigError
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
            raise ValueError("model.random: expected either size, or all of vision, text, tile and patch")
        if self.tokenizer is not None and self.vocabulary is not None:
            raise ValueError("model.random: expected tokenizer or vocabulary, found both")
        at_least("model.random.max_tiles", self.max_tiles, 1)


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


@dataclass(frozen=True, kw_only=True)
class ModelStart:
    """Where training starts. start: checkpoint folder or hub id. random: a model of random weights instead.
    regions: turns an image-level start into a region model; null keeps what the start is."""

    start: str | None = None
    random: RandomModel | None = None
    regions: RegionSemantics | None = None

    def __post_init__(self) -> None:
        if (self.start is None) == (self.random is None):
            raise ValueError("model: expected either start or random")


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Pictures that are drawn when they are needed: see data_engine.scene.draw_scene.

    pictures: how many an epoch has. level: from plain shapes, 0, to full scenes. size: pixels along the shorter side.
    objects: fewest and most; those of the level if null. questions: of chat, one a picture; describe: only for the
    caption of one of its objects. seed, split: of the generator.
    """

    pictures: int
    level: int = 5
    size: int = 128
    objects: tuple[int, int] | None = None
    questions: Literal["any", "describe"] = "any"
    seed: int = 0
    split: str = "train"

    def __post_init__(self) -> None:
        at_least("data.sources.scenes.pictures", self.pictures, 1)
        try:
            check(self.seed, 0, self.level, self.size, self.split, self.objects)
        except ValueError as error:
            raise ValueError(f"data.sources.scenes: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set.

    path: training JSON, JSON lines, Parquet, or a folder of Parquet files. scenes: drawn ones in place of files. kind:
    regions with captions, or chat about a picture. images: folder that file names are relative to; that of `path` if
    null. weight: how often an epoch shows each picture; 0.5 shows half of them. count: this many pictures, drawn once
    by the seed; all if null.
    """

    path: str | None = None
    scenes: Scenes | None = None
    kind: Literal["regions", "chat"] = "regions"
    images: str | None = None
    weight: float = 1.0
    count: int | None = None

    @property
    def name(self) -> str:
        return self.path if self.path is not None else "drawn scenes"

    def __post_init__(self) -> None:
        if (self.path is None) == (self.scenes is None):
            raise ValueError("data.sources: expected either path or scenes")
        at_least("data.sources.weight", self.weight, above=0)
        at_least("data.sources.count", self.count, 1)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Samples.

    held_out: sources for evaluation. caption_length: slots of a caption, answer_length: of an answer, padded with the
    end token. max_tokens: longest sequence; a longer one is a bad sample. max_regions: most regions of a sample; as
    many as the model has if null. groups: how regions of a picture are split over samples: into as few as can be, or
    into groups of random sizes, so that passes of every size are met. max_bad_share: of samples, above which the run
    stops. workers: processes a rank that prepare samples, 0 for none. row_groups: of a Parquet source that are
    shuffled together and held in memory.
    """

    sources: tuple[Source, ...]
    held_out: tuple[Source, ...] = ()
    caption_length: int = 32
    answer_length: int = 128
    max_tokens: int = 4096
    max_regions: int | None = None
    groups: Literal["random", "fewest"] = "random"
    max_bad_share: float = 0.01
    workers: int = 2
    row_groups: int = 4

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("data.sources: expected at least one source, found none")
        for name in ("caption_length", "answer_length", "max_tokens", "max_regions", "row_groups"):
            at_least(f"data.{name}", getattr(self, name), 1)
        at_least("data.workers", self.workers, 0)
        between("data.max_bad_share", self.max_bad_share, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW under a cosine schedule. module_lr: learning rates of single modules. freeze: modules that stay as they
    are. warmup: share of the steps. clip: largest norm of the gradient, 0 for any."""

    lr: float
    module_lr: dict[str, float] | None = None
    freeze: tuple[str, ...] = ()
    warmup: float = 0.03
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip: float = 1.0

    def __post_init__(self) -> None:
        at_least("optimizer.lr", self.lr, above=0)
        for name in (*self.freeze, *(self.module_lr or ())):
            if name not in MODULES:
                raise ValueError(f"optimizer: expected modules among {', '.join(MODULES)}, found {name!r}")
        for name, rate in (self.module_lr or {}).items():
            at_least(f"optimizer.module_lr.{name}", rate, above=0)
        if set(self.freeze) == set(MODULES):
            raise ValueError("optimizer.freeze: expected a module that is left to train, found all of them")
        for name in ("weight_decay", "clip", "eps"):
            at_least(f"optimizer.{name}", getattr(self, name), 0)
        between("optimizer.warmup", self.warmup, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Noising:
    """How samples are noised. times: each sample's time drawn alone (uniform), or one from each of as many even parts
    of [0, 1] as a step has samples (stratified). replace: share of the hit positions that get a random token in place
    of the mask token; above 0 the loss is over all labels alike."""

    times: Literal["uniform", "stratified"] = "uniform"
    replace: float = 0.0

    def __post_init__(self) -> None:
        between("noise.replace", self.replace, 0, 1)


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
            at_least(f"report.{name}", getattr(self, name), least)


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Everything `pdlm train` was asked for.

    output: folder of the run. batch: samples of an optimizer step, over all processes. micro_batch: samples of one
    forward of one process. epochs, max_steps: how long; exactly one of them. precision: of activations; weights and
    optimizer are fp32. device: auto prefers CUDA. strategy: of several processes. deepspeed: its JSON configuration.
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
    gradient_checkpointing: bool = False
    device: Literal["auto", "cpu"] = "auto"
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    deepspeed: str | None = None
    seed: int = 0
    noise: Noising = Noising()
    report: Reporting = Reporting()

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError(
                "expected either epochs or max_steps, found " + ("none" if self.epochs is None else "both")
            )
        at_least("epochs", self.epochs, above=0)
        at_least("max_steps", self.max_steps, 1)
        at_least("micro_batch", self.micro_batch, 1)
        between("seed", self.seed, 0, 2**63 - 1)
        if self.batch < 1 or self.batch % self.micro_batch:
            raise ValueError(f"batch: expected a multiple of micro_batch {self.micro_batch}, found {self.batch}")
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
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected fields of a training job, found {type(values).__name__}")
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
