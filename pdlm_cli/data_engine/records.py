"""A scene as data: the entry of the training JSON, and what the other formats need beside it."""

import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from pdlm_cli.data_engine.benchmark import benchmark_questions
from pdlm_cli.data_engine.limits import SPLITS
from pdlm_cli.data_engine.objects import SceneObject
from pdlm_cli.data_engine.scene import Scene


@dataclass(frozen=True, slots=True)
class SceneRecord:
    """training: one entry of the training JSON: `image` (path below the output folder), `image_id`, `width`, `height`,
    `mask_rles` and `captions` (one a region, in the same order), `objects` (what is true of each), `conversations`.

    boxes: left, top, right, bottom of each region in pixels, the last two exclusive. areas: in pixels.
    benchmark: questions of ParaDLC-Bench's form about each region, if they were asked for.
    """

    training: dict[str, Any]
    boxes: list[tuple[int, int, int, int]]
    areas: list[int]
    benchmark: list[list[dict[str, Any]]]


def make_record(scene: Scene, split: str, seed: int, index: int, *, benchmark: bool) -> SceneRecord:
    """The record of `draw_scene(seed, index, ..., split=split)`; a pure function of it."""
    name = image_id(split, seed, index)
    height, width = scene.picture.shape[:2]
    # A stream of its own, so that asking changes nothing of the scene.
    rng = np.random.default_rng(np.random.SeedSequence([SPLITS.index(split), seed, index, 1]))
    training = {
        "image": f"images/{name}.png",
        "image_id": name,
        "width": width,
        "height": height,
        "mask_rles": [run_lengths(item) for item in scene.objects],
        "captions": scene.captions,
        "objects": [asdict(item.attributes) | {"hidden": list(item.hidden)} for item in scene.objects],
        "conversations": _conversations(scene),
    }
    return SceneRecord(
        training=training,
        boxes=[item.box for item in scene.objects],
        areas=[int(np.count_nonzero(item.mask)) for item in scene.objects],
        benchmark=[benchmark_questions(scene.objects, i, rng) for i in range(len(scene.objects))] if benchmark else [],
    )


def image_id(split: str, seed: int, index: int) -> str:
    return f"{split}-{seed}-{index:06d}"


def png_bytes(scene: Scene) -> bytes:
    """The picture without loss, so that a stored scene is the one that is drawn."""
    sink = io.BytesIO()
    Image.fromarray(scene.picture).save(sink, format="PNG", compress_level=1)
    return sink.getvalue()


def run_lengths(item: SceneObject) -> dict[str, Any]:
    """COCO's compressed run lengths: `size` [height, width] and `counts`, a text."""
    encoded = coco_mask.encode(np.asfortranarray(item.mask.view(np.uint8)))
    return {"size": [int(n) for n in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def _conversations(scene: Scene) -> list[dict[str, str]]:
    """All questions of a picture as the turns of one conversation."""
    turns: list[dict[str, str]] = []
    for question in scene.questions:
        text = question.text if turns else f"<image>\n{question.text}"
        turns += [{"from": "human", "value": text}, {"from": "gpt", "value": question.answer}]
    return turns
