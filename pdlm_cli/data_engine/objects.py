"""An object as it can be seen in a picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdlm_cli.data_engine.attributes import Attributes
from pdlm_cli.data_engine.kinds import KINDS, Kind


@dataclass(frozen=True, slots=True, eq=False)
class SceneObject:
    """attributes: what can be seen; parts named in `hidden` were drawn but are covered or too small to speak of.

    codes: of each of the parts in `Scene.owner`.
    mask: (height, width) bool, the visible pixels; never empty. box: the smallest one around it, in pixels: left, top,
    right, bottom, the last two exclusive. caption: states all of the attributes.
    """

    attributes: Attributes
    hidden: tuple[str, ...]
    codes: tuple[int, ...]
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    caption: str

    @property
    def kind(self) -> Kind:
        assert self.attributes.kind is not None
        return KINDS[self.attributes.kind]

    @property
    def center(self) -> tuple[float, float]:
        """x, y of the middle of the box in pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """See SceneObject.box."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
