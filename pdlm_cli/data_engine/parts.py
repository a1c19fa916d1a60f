"""What is seen where in a scene: the words for each visible part of each object, and its pixels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pdlm_cli.data_engine.attributes import PLAIN, Part
from pdlm_cli.data_engine.placement import CODES
from pdlm_cli.data_engine.scene import Scene


def visible_parts(scene: Scene) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Words as a caption has them in the middle of a sentence, and (height, width) pixels, of parts that captions speak
    of: "house roof flat checked red gray"."""
    for number, item in enumerate(scene.objects, 1):
        for code, part in zip(item.codes, item.attributes.parts, strict=True):
            yield part_words(item.kind.name, part), scene.owner == CODES * number + code


def part_words(kind: str, part: Part) -> str:
    pattern = part.pattern if part.pattern != PLAIN else None
    words = (kind, part.name, part.shape, part.material, pattern, *part.colors)
    return "".join(f" {word}" for word in words if word)
