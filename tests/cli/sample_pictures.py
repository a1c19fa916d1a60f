"""Two small pictures with regions, which every format can say; where they are stored in each."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from tests.cli.support import REPOSITORY

FOLDER = REPOSITORY / "tests/data/inputs"


def png_of(image: Image.Image) -> bytes:
    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


@dataclass(frozen=True)
class Picture:
    """name: without suffix. labels: (height, width), 0 outside, otherwise the number of a region, from 1 on.
    categories: one a region."""

    name: str
    labels: np.ndarray
    categories: tuple[str, ...]

    @property
    def file(self) -> str:
        return f"{self.name}.png"

    @property
    def size(self) -> dict[str, int]:
        return {"width": self.labels.shape[1], "height": self.labels.shape[0]}

    @property
    def masks(self) -> list[np.ndarray]:
        return [self.labels == number for number in range(1, len(self.categories) + 1)]

    def image(self) -> Image.Image:
        bands = [self.labels * 40, self.labels * 20, 255 - self.labels]
        return Image.fromarray(np.stack(bands, axis=2).astype(np.uint8))

    def png(self) -> bytes:
        return png_of(self.image())


def drawn(name: str, *rows: str, categories: tuple[str, ...]) -> Picture:
    """A picture of rows of digits, a dot being outside."""
    return Picture(name, np.array([[int(c.replace(".", "0")) for c in row] for row in rows], np.uint8), categories)


SAMPLE = (
    drawn("a", "11......", "11..22..", "....2.2.", "....222.", "3.......", categories=("cat", "ring", "dot")),
    drawn("b", ".1", "11", "..", "22", categories=("corner", "cat")),
)
