"""From a record to what the model learns from: a prepared picture or pass, and its layout with the texts in place."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from model import footprint
from model.config import PerceptionDLMConfig
from model.layout import Layout, plan_conversation, plan_pass
from model.passes import bind
from model.preprocess import PreparedImage, PreparedPass, count_tiles, prepare_image, prepare_pass
from model.tokens import Tokens
from pdlm_cli.errors import InputError, RegionError
from pdlm_cli.training.conversations import first_shown, question_parts, turn_pairs, without_marks
from pdlm_cli.training.job_data import Data, Source
from pdlm_cli.training.order import DRAW, Extent, SampleRef, Stream, mix
from pdlm_cli.training.pictures import record_image, record_images, record_regions, region_pixels
from pdlm_cli.training.records import Records, open_records

MOST_SUBSTITUTES = 100


@dataclass(frozen=True)
class Sample:
    """One row of a batch.

    prepared: a PreparedPass for regions, the pictures shown so far for a turn of a conversation. texts: captions in
    slot order, or question and answer. shown: words, and (T * n * n) the image tokens that show them, where the data
    says so. place: in the stream of all samples. problems: what was left out on the way.
    """

    prepared: PreparedPass | tuple[PreparedImage, ...]
    layout: Layout
    texts: tuple[str, ...]
    place: int
    problems: tuple[str, ...]
    shown: tuple[tuple[str, NDArray[np.bool_]], ...] = ()

    @property
    def parts(self) -> tuple[PreparedPass | PreparedImage, ...]:
        """What the layout shows, in order."""
        return (self.prepared,) if isinstance(self.prepared, PreparedPass) else self.prepared

    @property
    def images(self) -> tuple[PreparedImage, ...]:
        return (self.prepared.image,) if isinstance(self.prepared, PreparedPass) else self.prepared


class Samples(Dataset[Sample]):
    """The samples of some sources, by their place in the stream of epochs: a pure function of seed and place."""

    def __init__(
        self, sources: Sequence[Source], data: Data, config: PerceptionDLMConfig, tokens: Tokens, seed: int
    ) -> None:
        """Raises InputError if a source cannot be read or is of a kind that the model does not learn."""
        self.sources, self.data, self.config, self.tokens, self.seed = tuple(sources), data, config, tokens, seed
        for source in sources:
            if source.kind == "regions" and config.regions is None:
                raise InputError(f"{source.name}: data of regions does not fit a model that has none")
        self.records = [open_records(source, held_blocks=data.row_groups + 1) for source in sources]
        most = config.regions.max_regions if config.regions is not None else 1
        if config.regions is not None and data.max_regions is not None:
            if data.max_regions > most:
                raise InputError(
                    f"data.max_regions: expected at most the {most} of the model, found {data.max_regions}"
                )
            most = data.max_regions
        self.stream = Stream(
            [
                Extent(
                    records.regions,
                    records.blocks,
                    data.row_groups,
                    most if source.kind == "regions" else 1,
                    source.weight,
                    source.count,
                    fewest=data.groups == "fewest",
                    tiles=self._tiles(records),
                )
                for records, source in zip(self.records, self.sources, strict=True)
            ],
            seed,
        )

    def size(self, place: int) -> tuple[int, bool, int]:
        """What a sample costs, as far as it is known before it is read: tiles (0 if not known), whether it has regions,
        and how many. For putting samples of a size together."""
        epoch, row = self.stream.locate(place)
        source, record = int(epoch.source[row]), int(epoch.record[row])
        tiles = self.stream.extents[source].tiles
        regions = self.sources[source].kind == "regions"
        return int(tiles[record]) if tiles is not None else 0, regions, int(epoch.size[row])

    def __getitem__(self, place: int) -> Sample:
        """The sample at a place of the stream, or another of its epoch if that is bad.

        Raises InputError if MOST_SUBSTITUTES in a row are bad.
        """
        problems: list[str] = []
        ref = self.stream.at(place)
        for attempt in range(MOST_SUBSTITUTES):
            try:
                return self.read(ref, place, problems)
            except RegionError as error:
                problems.append(f"{self._name(ref)}: {error.code}: {error}")
                ref = self.stream.substitute(place, attempt)
        raise InputError(f"{MOST_SUBSTITUTES} samples in a row cannot be used; the last one: {problems[-1]}")

    def read(self, ref: SampleRef, place: int, problems: list[str]) -> Sample:
        """Prepare a sample; regions that cannot be used are left out and noted in `problems`. Raises RegionError if
        nothing is left of it."""
        source = self.sources[ref.source]
        record = self.records[ref.source][ref.record]
        if source.kind == "chat":
            pictures = record_images(record, _folder(source))
            images = tuple(prepare_image(picture, self.config) for picture in pictures)
            return self._turn(images, record, ref.regions[0], place, problems)

        picture = record_image(record, _folder(source))
        image = prepare_image(picture, self.config)
        regions = record_regions(record)
        kept, captions = [], []
        for index in ref.regions:
            segmentation, caption = regions[index]
            try:
                kept.append(region_pixels(segmentation, picture.size))
                captions.append(caption)
            except RegionError as error:
                problems.append(f"{self._name(ref)}, region {index}: {error.code}: {error}")
        if not kept:
            raise RegionError("bad_mask", "none of the regions can be used")
        assert self.config.regions is not None
        rng = np.random.default_rng(int(mix(self.seed, place, DRAW)))
        numbers = tuple(rng.permutation(self.config.regions.max_regions)[: len(kept)].tolist())
        prompts, markers = bind(numbers, self.config.regions.binding)
        prepared = prepare_pass(image, np.stack(kept), self.config, prompts=prompts, markers=markers)
        texts = tuple(captions[i] for i in prepared.order)
        layout = plan_pass(
            self.tokens,
            self.config,
            tiles=len(image.tiles),
            captions=[self.tokens.encode_caption(text, self.data.caption_length) for text in texts],
            markers=prepared.markers,
        )
        sample = self._sample(prepared, layout, texts, place, problems)
        return replace(sample, shown=self._shown(record["parts"], image)) if "parts" in record else sample

    def _shown(
        self, parts: Sequence[tuple[str, NDArray[np.bool_]]], image: PreparedImage
    ) -> tuple[tuple[str, NDArray[np.bool_]], ...]:
        """See `Sample.shown`. parts: words and (height, width) pixels, in those of the picture."""
        masks = np.stack([mask for _, mask in parts])
        patches = footprint.coverage(masks, image.grid, self.config.tile_size, self.config.patch_size)
        n, r = self.config.token_grid, self.config.unshuffle
        tokens = patches.reshape(*patches.shape[:2], n, r, n, r).any(axis=(3, 5)).reshape(len(parts), -1)
        return tuple(zip((words for words, _ in parts), tokens, strict=True))

    def _turn(
        self, images: tuple[PreparedImage, ...], record: dict[str, Any], number: int, place: int, problems: list[str]
    ) -> Sample:
        """The answer to a question that has a picture to look at, after the questions and answers before it."""
        pairs = list(turn_pairs(record.get("conversations") or []))
        if not pairs:
            raise RegionError("bad_mask", "expected conversations with a question and its answer, found none")
        questions = [question for question, _ in pairs]
        last = first_shown(questions) + number
        asked = question_parts(questions, [len(image.tiles) for image in images])[: last + 1]
        answers = [self.tokens.encode(answer) for _, answer in pairs[:last]]
        answers.append(self._padded(pairs[last][1], place))
        layout = plan_conversation(self.tokens, self.config, list(zip(asked, answers, strict=True)))
        shown = sum(isinstance(part, int) for parts in asked for part in parts)
        texts = (without_marks(questions[last]), pairs[last][1])
        return self._sample(images[:shown], layout, texts, place, problems)

    def _padded(self, answer: str, place: int) -> list[int]:
        """Ids of an answer and its ends, at least one where there is room. Random lengths are even in their logarithms:
        an answer counts as one whatever its length, so that a long row of ends leaves little to its words."""
        most = self.data.answer_length
        if self.data.answer_padding == "random":
            rng = np.random.default_rng(int(mix(self.seed, place, DRAW)))
            fewest = min(len(self.tokens.encode(answer)) + 1, most)
            most = round(fewest * (most / fewest) ** rng.random())
        return self.tokens.encode_caption(answer, most)

    def _sample(
        self,
        prepared: PreparedPass | tuple[PreparedImage, ...],
        layout: Layout,
        texts: tuple[str, ...],
        place: int,
        problems: list[str],
    ) -> Sample:
        if len(layout.input_ids) > self.data.max_tokens:
            raise RegionError(
                "size_mismatch", f"needs {len(layout.input_ids)} tokens, data.max_tokens is {self.data.max_tokens}"
            )
        return Sample(prepared, layout, texts, place, tuple(problems))

    def _name(self, ref: SampleRef) -> str:
        return f"{self.sources[ref.source].name}, record {ref.record}"

    def _tiles(self, records: Records) -> NDArray[np.int64] | None:
        """(N,) tiles of each picture, the thumbnail counted."""
        if records.sizes is None:
            return None
        sizes, index = np.unique(records.sizes, axis=0, return_inverse=True)
        tiles = np.array([count_tiles(int(width), int(height), self.config) for width, height in sizes])
        counts: NDArray[np.int64] = tiles[index.ravel()]
        return counts


def _folder(source: Source) -> Path:
    """That file names of pictures are relative to."""
    if source.images is not None or source.path is None:
        return Path(source.images or "")
    path = Path(source.path)
    return path if path.is_dir() else path.parent


def settle_worker(_: int) -> None:
    """For worker processes. torch's own threads would only compete with the other workers. A signal to stop, which
    launchers send to every process, is for the trainer: it needs batches until its step is done."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))


def end_workers() -> None:
    """End the worker processes of this one, whatever they do. Python would wait for them, having sent SIGTERM."""
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGUSR1)
