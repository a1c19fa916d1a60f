"""The part of a job that says what is learnt from: sources of samples, and how long they may be."""

from dataclasses import dataclass
from typing import Literal

from pdlm_cli.data_engine.limits import SPLITS
from pdlm_cli.data_engine.scene import check
from pdlm_cli.training.typed_fields import at_least, between


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Pictures that are drawn when they are needed: see data_engine.scene.draw_scene.

    pictures: how many an epoch has. level: from plain shapes, 0, to full scenes. size: pixels along the shorter side.
    objects: fewest and most; those of the level if null. captions: in many sentence shapes, or all of the same.
    questions: of chat, one a picture; describe: only for the caption of one of its objects; whole: for all that it
    shows. parts: where words are learnt, those of the part that an image token shows too. seed, split: of the
    generator.
    """

    pictures: int
    level: int = 5
    size: int = 128
    objects: tuple[int, int] | None = None
    captions: Literal["varied", "plain"] = "varied"
    questions: Literal["any", "describe", "whole"] = "any"
    parts: bool = False
    seed: int = 0
    split: str = "train"

    def __post_init__(self) -> None:
        at_least("pictures", self.pictures, 1)
        check(self.seed, 0, self.level, self.size, self.split, self.objects)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set.

    path: training JSON, JSON lines, Parquet, or a folder of Parquet files. scenes: drawn ones in place of files. kind:
    regions with captions, or chat. images: folder that file names are relative to; that of `path` if null. weight: how
    often an epoch shows each picture; 0.5 shows half of them. count: this many pictures, drawn once by the seed; all
    if null.
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
            raise ValueError("path: expected either this or scenes")
        at_least("weight", self.weight, above=0)
        at_least("count", self.count, 1)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Samples.

    held_out: sources for evaluation; drawn scenes of another split than those that are learnt from. caption_length:
    slots of a caption, answer_length: of an answer, padded with the end token. answer_padding: full, to all these
    slots; random, to a number of slots that is drawn for each answer, so that one word is not lost among a hundred
    ends, and the model has met every length. max_tokens: longest sequence; a longer one is a bad sample. max_regions:
    most regions of a sample; as many as the model has if null. groups: how regions of a picture are split over samples:
    into as few as can be, or into groups of random sizes, so that passes of every size are met. max_bad_share: of
    samples, above which the run stops. workers: processes a rank that prepare samples, 0 for none. row_groups: of a
    Parquet source that are shuffled together and held in memory.
    """

    sources: tuple[Source, ...]
    held_out: tuple[Source, ...] = ()
    caption_length: int = 32
    answer_length: int = 128
    answer_padding: Literal["full", "random"] = "full"
    max_tokens: int = 4096
    max_regions: int | None = None
    groups: Literal["random", "fewest"] = "random"
    max_bad_share: float = 0.01
    workers: int = 2
    row_groups: int = 4

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources: expected at least one source, found none")
        for name in ("caption_length", "answer_length", "max_tokens", "max_regions", "row_groups"):
            at_least(name, getattr(self, name), 1)
        at_least("workers", self.workers, 0)
        between("max_bad_share", self.max_bad_share, 0, 1)
        others = tuple(split for split in SPLITS if split != "train")
        for name, sources, splits in (("sources", self.sources, ("train",)), ("held_out", self.held_out, others)):
            for split in (source.scenes.split for source in sources if source.scenes is not None):
                if split not in splits:
                    raise ValueError(f"{name}: expected scenes of split {' or '.join(splits)}, found {split}")
