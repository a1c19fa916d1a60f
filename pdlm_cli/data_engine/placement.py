"""Which object lies where, and what of it can be seen."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pdlm_cli.data_engine.draw import Sprite
from pdlm_cli.data_engine.looks import Look

# Of a picture's pixels, for every object's visible mask.
SMALLEST_SHARE, LARGEST_SHARE = 0.02, 0.40

# Of what was drawn of it, how much must stay visible: of an object, of its main part.
OBJECT_VISIBLE, MAIN_VISIBLE = 0.6, 0.6
CODES = 16  # of one object, see Sprite.codes


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A sprite with its upper left corner at column x and row y of the picture.

    drawn: pixels by code, of the sprite alone.
    """

    look: Look
    sprite: Sprite
    x: int
    y: int
    drawn: NDArray[np.int64]

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the picture under the sprite."""
        height, width = self.sprite.codes.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


@dataclass(slots=True)
class Arrangement:
    """Objects from back to front.

    owner: (height, width) uint8, 16 * n + code where a pixel shows a part of the n-th object, counted from 1; 0 where
    it shows the background.
    """

    width: int
    height: int
    placed: list[Placed] = field(default_factory=list)
    owner: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.owner = np.zeros((self.height, self.width), dtype=np.uint8)

    def visible(self) -> NDArray[np.int64]:
        """(objects, 16): visible pixels of each object by code."""
        return self._count(self.owner)[1:]

    def masks(self) -> list[NDArray[np.bool_]]:
        """(height, width) of each object."""
        owners = self.owner // CODES
        return [owners == n for n in range(1, len(self.placed) + 1)]

    def fits(self, sprite: Sprite) -> bool:
        """Whether a sprite, all of it visible, keeps to the picture and to the bounds of size."""
        height, width = sprite.codes.shape
        share = np.count_nonzero(sprite.codes) / self.owner.size
        return bool(height <= self.height and width <= self.width and SMALLEST_SHARE <= share <= LARGEST_SHARE)

    def place(self, look: Look, sprite: Sprite, x: int, y: int, overlap: bool) -> bool:
        """Put a sprite in front of the others, unless that hides anything (overlap: too much) of one of them."""
        height, width = sprite.codes.shape
        window = self.owner[y : y + height, x : x + width]
        inside = sprite.codes > 0
        under = window[inside]
        if under.any():
            if not overlap:
                return False
            hidden = self._count(under)
            covered = np.flatnonzero(hidden[1:].any(axis=1)) + 1
            if not all(self._stays_visible(n, hidden[n]) for n in covered.tolist()):
                return False
        drawn = np.bincount(sprite.codes.ravel(), minlength=CODES)
        drawn[0] = 0
        self.placed.append(Placed(look, sprite, x, y, drawn))
        np.copyto(window, sprite.codes + np.uint8(CODES * len(self.placed)), where=inside)
        return True

    def _stays_visible(self, n: int, hidden: NDArray[np.int64]) -> bool:
        behind = self.placed[n - 1]
        rest = self._count(self.owner[behind.box])[n] - hidden
        enough = max(OBJECT_VISIBLE * int(behind.drawn.sum()), SMALLEST_SHARE * self.owner.size)
        return bool(rest.sum() >= enough and rest[1] >= MAIN_VISIBLE * behind.drawn[1])

    def _count(self, owner: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(1 + objects, 16): pixels by object and code."""
        return np.bincount(owner.ravel(), minlength=(len(self.placed) + 1) * CODES).reshape(-1, CODES)
