"""Freshly drawn scenes through the model, and its captions before the rule-based judge."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from PIL import Image

from model.passes import region_seed
from pdlm_cli.captioning import caption_images
from pdlm_cli.data_engine.attributes import Attributes
from pdlm_cli.data_engine.benchmark import said_of
from pdlm_cli.data_engine.judge import choose, recognised
from pdlm_cli.data_engine.records import make_record
from pdlm_cli.data_engine.scene import Scene, draw_scene
from pdlm_cli.engine import Engine
from pdlm_cli.errors import DeviceError
from pdlm_cli.evaluation.protocol import RECOGNITION, Question, score_mask
from pdlm_cli.evaluation.regions import JudgedRegion
from pdlm_cli.masks import pack
from pdlm_cli.preparation import ImageWork, add_passes, begin, run_ahead
from pdlm_cli.progress import Progress
from pdlm_cli.regions import ImageEntry, Region
from pdlm_cli.report import Report

ATTRIBUTES = ("color", "pattern", "material", "shape")
NEGATIVES = {"negative part": "absent part", "salient negative": "another object"}
QUESTION_SORTS = (*ATTRIBUTES, *NEGATIVES.values())


@dataclass(frozen=True)
class SceneSet:
    """The scenes 0 to pictures - 1 of a random stream; see draw_scene."""

    pictures: int
    seed: int
    split: str
    level: int
    size: int
    objects: tuple[int, int]

    def draw(self, index: int) -> Scene:
        return draw_scene(self.seed, index, self.level, self.size, split=self.split, objects=self.objects)

    def index(self, name: str) -> int:
        """Of a picture by its name, as image_id gives it."""
        return int(name.rpartition("-")[2])


@dataclass(frozen=True, slots=True)
class Target:
    """A region as it should be described. share: of the picture that the mask covers, 0 to 1."""

    attributes: Attributes
    caption: str
    share: float
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class SceneWork:
    """A scene on its way through the model; its picture is only in the prepared passes."""

    name: str
    targets: tuple[Target, ...]
    image: ImageWork


def evaluate(
    scenes: SceneSet,
    engine: Engine,
    *,
    batch_size: int,
    workers: int,
    report: Report,
    progress: Progress,
    stopped: Callable[[], bool],
) -> Iterator[list[JudgedRegion]]:
    """The judged regions of each picture, in order. workers: threads that draw and prepare.

    report, batch_size, stopped: see caption_images. progress: is told of pictures. Raises DeviceError if a region has
    no caption: a score must not depend on the device.
    """
    waiting: deque[SceneWork] = deque()

    def images(works: Iterator[SceneWork]) -> Iterator[ImageWork]:
        for work in works:
            waiting.append(work)
            yield work.image

    with closing(run_ahead(range(scenes.pictures), lambda i: prepare_scene(scenes, i, engine), workers)) as works:
        for _, rows in caption_images(
            images(works), engine, batch_size=batch_size, report=report, progress=_Unheard(), stopped=stopped
        ):
            work = waiting.popleft()
            for row in rows:
                if row.error_code is not None:
                    raise DeviceError(f"{work.name}, region {row.region_id}: {row.error_code}: {row.error_message}")
            keys = [row.region_key for row in rows]
            seeds = [region_seed(scenes.seed, key) for key in keys]
            yield judge_picture(work.name, work.targets, [row.caption or "" for row in rows], seeds)
            progress.advance(1)


def prepare_scene(scenes: SceneSet, index: int, engine: Engine) -> SceneWork:
    """Draw a scene and prepare its passes."""
    scene = scenes.draw(index)
    record = make_record(scene, scenes.split, scenes.seed, index, benchmark=True)
    height, width = scene.picture.shape[:2]
    targets = tuple(
        Target(item.attributes, item.caption, area / (height * width), tuple(map(Question.from_json, asked)))
        for item, area, asked in zip(scene.objects, record.areas, record.benchmark, strict=True)
    )
    training = record.training
    regions = tuple(
        Region(str(i), i, item.attributes.kind, crowd=False, segmentation=training["mask_rles"][i])
        for i, item in enumerate(scene.objects)
    )
    image = begin(ImageEntry(training["image_id"], training["image"], width, height, regions), part=0)
    masks = [(i, pack(item.mask)) for i, item in enumerate(scene.objects)]
    add_passes(image, Image.fromarray(scene.picture), masks, engine, scenes.seed, started=time.perf_counter())
    return SceneWork(training["image_id"], targets, image)


def judge_picture(
    name: str, targets: Sequence[Target], captions: Sequence[str], seeds: Sequence[int]
) -> list[JudgedRegion]:
    """The captions of all regions of a picture before the judge."""
    regions = []
    for index, (target, caption, seed) in enumerate(zip(targets, captions, seeds, strict=True)):
        responses = answers(caption, target)
        regions.append(
            JudgedRegion(
                picture=name,
                index=index,
                share=target.share,
                neighbors=len(targets),
                attributes=target.attributes,
                expected=target.caption,
                found=caption,
                seed=seed,
                questions=target.questions,
                asks=question_sorts(target),
                responses=responses,
                score=score_mask(target.questions, responses if caption.strip() else None),
            )
        )
    return regions


def answers(caption: str, target: Target) -> tuple[str, ...]:
    """What the rule-based judge says: about recognition, then to each question."""
    assert target.attributes.kind is not None
    first = RECOGNITION[0 if recognised(caption, target.attributes.kind) else 1]
    asked = [[text for text, _ in question.choices] for question in target.questions]
    return (first, *(choices[choose(caption, choices)] for choices in asked))


def question_sorts(target: Target) -> tuple[str, ...]:
    """What each question is about, of QUESTION_SORTS."""
    # One positive question for each attribute of each part, in this order (see benchmark_questions).
    attributes = [name for part in target.attributes.parts for name, _ in said_of(part)]
    negatives = [NEGATIVES[question.subtype] for question in target.questions if question.subtype is not None]
    assert [question.positive for question in target.questions] == [True] * len(attributes) + [False] * len(negatives)
    return (*attributes, *negatives)


class _Unheard:
    """Stands in for the progress of regions, whose number is not known before all scenes are drawn."""

    def __enter__(self) -> "_Unheard":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def advance(self, items: int) -> None:
        pass
