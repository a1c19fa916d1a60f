"""Scenes as records: drawn when they are asked for, never stored."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from pdlm_cli.data_engine.levels import LEVELS
from pdlm_cli.data_engine.parts import visible_parts
from pdlm_cli.data_engine.questions import descriptions, whole
from pdlm_cli.data_engine.scene import Scene, draw_scene, picture_size
from pdlm_cli.training.job_data import Scenes
from pdlm_cli.training.order import OBJECTS, QUESTION, SHAPE, mix

TEXT_PICTURES = 500  # whose texts stand for all: scenes have a closed vocabulary


class DrawnRecords:
    """Records of `Scenes`. Shape and number of objects of each are known without drawing it.

    regions: (N,) objects of each scene; a scene that is asked about has one question, so 1. sizes: (N, 2) pixels.
    """

    blocks = None

    def __init__(self, scenes: Scenes, kind: str) -> None:
        self._scenes, self._kind = scenes, kind
        index = np.arange(scenes.pictures)
        level = LEVELS[scenes.level]
        fewest, most = scenes.objects or level.objects
        self._objects = fewest + (mix(scenes.seed, index, OBJECTS) % np.uint64(most - fewest + 1)).astype(np.int64)
        self._aspects = (mix(scenes.seed, index, SHAPE) % np.uint64(len(level.aspects))).astype(np.int64)
        sizes = np.array([picture_size(scenes.size, aspect) for aspect in level.aspects])
        self.sizes = sizes[self._aspects]
        self.regions = self._objects if kind == "regions" else np.ones_like(self._objects)

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene = self._draw(index)
        record: dict[str, Any] = {"image": Image.fromarray(scene.picture)}
        if self._kind == "regions":
            record |= {"captions": scene.captions, "mask_rles": list(scene.masks)}
            return record | {"parts": list(visible_parts(scene))} if self._scenes.parts else record
        questions = list(scene.questions)
        view = scene.view(self._scenes.level)
        if self._scenes.questions == "describe":
            questions = descriptions(view) or questions
        elif self._scenes.questions == "whole":
            questions = whole(view)
        question = questions[int(mix(self._scenes.seed, index, QUESTION) % np.uint64(len(questions)))]
        turns = (("user", question.text), ("assistant", question.answer))
        return record | {"conversations": [{"role": role, "content": text} for role, text in turns]}

    def texts(self) -> Iterator[str]:
        for index in range(min(TEXT_PICTURES, self._scenes.pictures)):
            scene = self._draw(index)
            yield from scene.captions
            for question in scene.questions:
                yield from (question.text, question.answer)

    def _draw(self, index: int) -> Scene:
        wanted, objects = self._scenes, int(self._objects[index])
        return draw_scene(
            wanted.seed,
            index,
            wanted.level,
            wanted.size,
            split=wanted.split,
            objects=(objects, objects),
            aspect=LEVELS[wanted.level].aspects[int(self._aspects[index])],
            plain=wanted.captions == "plain",
        )
