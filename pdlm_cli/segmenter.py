"""Regions of a picture that nobody has drawn: SAM, SAM 2 or SAM 3 asked at every point of a grid.

transformers has the models. Its own mask generation needs torchvision, so what lies around the models is here: picture
to pixels, points to candidates, candidates to regions, with the rules that SAM was published with.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModelForMaskGeneration

from model.checkpoint_files import resolve
from model.fields import read_json
from pdlm_cli.device import device_errors, pick_device
from pdlm_cli.errors import ConfigError, DeviceError

POINTS_A_CALL = 64
STABILITY_OFFSET = 1.0  # of logits, around the threshold of 0


@dataclass(frozen=True)
class Grid:
    """Which regions are looked for, and which are good enough.

    points: asked along each side of a picture. score: least overlap with what it means that the model promises, 0 to 1.
    stability: least share of a mask that is left when its outline is drawn more strictly. overlap: of two boxes, beyond
    which they show one thing, intersection over union. area: least share of the picture.
    """

    points: int
    score: float
    stability: float
    overlap: float
    area: float


@dataclass(frozen=True)
class Candidates:
    """Masks that may become regions, the likeliest first.

    logits: (count, height, width) at the model's own small size. scores: (count,), the model's guess of the overlap
    with what it means, 0 to 1. boxes: (count, 4) left, top, right, bottom in its pixels, right and bottom outside.
    """

    logits: torch.Tensor
    scores: torch.Tensor
    boxes: torch.Tensor

    def __getitem__(self, chosen: torch.Tensor) -> "Candidates":
        return Candidates(self.logits[chosen], self.scores[chosen], self.boxes[chosen])

    def __add__(self, other: "Candidates") -> "Candidates":
        return Candidates(
            torch.cat([self.logits, other.logits]),
            torch.cat([self.scores, other.scores]),
            torch.cat([self.boxes, other.boxes]),
        )


@dataclass(frozen=True)
class Frame:
    """How pictures of one checkpoint become pixels.

    size: (width, height) of what the model sees. padded: whether a picture keeps its shape and is padded right and
    below, as for SAM, or is stretched. mean, std: of each color, 0 to 1.
    """

    size: tuple[int, int]
    padded: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def used(self, picture: tuple[int, int]) -> tuple[int, int]:
        """(width, height) that a picture of that size takes of it."""
        if not self.padded:
            return self.size
        scale = self.size[0] / max(picture)
        width, height = (max(1, int(side * scale + 0.5)) for side in picture)
        return width, height

    def pixels(self, picture: Image.Image) -> torch.Tensor:
        """(1, 3, height, width), normalised."""
        width, height = self.used(picture.size)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
        values = torch.from_numpy(np.asarray(resized, dtype=np.float32) / 255)
        values = ((values - torch.tensor(self.mean)) / torch.tensor(self.std)).permute(2, 0, 1)
        return F.pad(values, (0, self.size[0] - width, 0, self.size[1] - height))[None]


class Segmenter:
    """A loaded checkpoint that looks for regions. What it finds depends on the checkpoint, the grid and the picture."""

    def __init__(self, checkpoint: str, device: str, grid: Mapping[str, Any]) -> None:
        """checkpoint: folder or hub id. grid: fields of Grid. Raises ConfigError if it is none, DeviceError."""
        where = pick_device(device)
        try:
            folder = resolve(checkpoint)
            self._frame = read_frame(folder)
            with device_errors():
                model = AutoModelForMaskGeneration.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
                self._model = model.to(where).eval()
        except DeviceError:
            raise
        except (ValueError, OSError) as error:
            raise ConfigError(f"{checkpoint} is no checkpoint of SAM, SAM 2 or SAM 3: {error}") from error
        self._grid, self._device = Grid(**grid), where

    @torch.inference_mode()
    def masks(self, picture: Image.Image) -> list[NDArray[np.bool_]]:
        """(height, width) of every region found, the surest first. Raises DeviceError."""
        with device_errors():
            found = self._candidates(picture)
            return list(self._drawn(found, picture.size)) if found is not None else []

    def _candidates(self, picture: Image.Image) -> Candidates | None:
        """Those of all points of the grid. Overlapping ones go after each call, so that memory holds few."""
        used = self._frame.used(picture.size)
        embeddings = self._model.get_image_embeddings(self._frame.pixels(picture).to(self._device))
        found: Candidates | None = None
        for points in self._grid_points(used).split(POINTS_A_CALL):
            output = self._model(image_embeddings=embeddings, input_points=points[None, :, None], multimask_output=True)
            new = self._sure(output.pred_masks[0].flatten(0, 1), output.iou_scores[0].flatten(), used)
            found = distinct(new if found is None else found + new, self._grid.overlap)
        return found

    def _grid_points(self, used: tuple[int, int]) -> torch.Tensor:
        """(points a side squared, 2) x, y in pixels of the frame, in the middles of the grid's fields."""
        middles = (torch.arange(self._grid.points) + 0.5) / self._grid.points
        y, x = torch.meshgrid(middles * used[1], middles * used[0], indexing="ij")
        return torch.stack([x.flatten(), y.flatten()], dim=1).to(self._device)

    def _sure(self, logits: torch.Tensor, scores: torch.Tensor, used: tuple[int, int]) -> Candidates:
        """The masks of one call that are good enough. logits: (count, height, width) of the whole frame."""
        height, width = logits.shape[-2:]
        logits = logits[:, : -(-height * used[1] // self._frame.size[1]), : -(-width * used[0] // self._frame.size[0])]
        inner = (logits > STABILITY_OFFSET).sum((1, 2))
        outer = (logits > -STABILITY_OFFSET).sum((1, 2))
        stable = inner >= self._grid.stability * outer
        sure = stable & (inner > 0) & (scores >= self._grid.score)
        logits, scores = logits[sure], scores[sure]
        return Candidates(logits, scores, boxes_of(logits > 0))

    def _drawn(self, found: Candidates, size: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
        """At the picture's own (width, height), one by one; specks are left out."""
        for logits in found.logits:
            full = F.interpolate(logits[None, None], size=size[::-1], mode="bilinear", align_corners=False)
            mask: NDArray[np.bool_] = (full[0, 0] > 0).cpu().numpy()
            if mask.sum() >= max(1, self._grid.area * mask.size):
                yield mask


def boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """(count, 4) left, top, right, bottom around masks (count, height, width), none of them empty."""
    ends = []
    for axis in (1, 2):
        inside = masks.any(axis).int()
        first, last = inside.argmax(1), inside.shape[1] - inside.flip(1).argmax(1)
        ends += [first, last]
    left, right, top, bottom = ends
    return torch.stack([left, top, right, bottom], dim=1)


def distinct(found: Candidates, overlap: float) -> Candidates:
    """The likeliest of candidates whose boxes overlap by more than that, intersection over union; likeliest first."""
    found = found[found.scores.argsort(descending=True, stable=True)]
    boxes = found.boxes.float()
    corner, opposite = torch.maximum(boxes[:, None, :2], boxes[:, :2]), torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared = (opposite - corner).clamp(min=0).prod(2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    rivals = (shared > overlap * (areas[:, None] + areas - shared)).cpu().numpy()
    kept: list[int] = []
    for i in range(len(rivals)):
        if not rivals[i, kept].any():
            kept.append(i)
    return found[torch.tensor(kept, dtype=torch.long, device=boxes.device)]


def read_frame(folder: Path) -> Frame:
    """From the settings of the checkpoint's image processor. Raises ValueError if they are not there."""
    file = folder / "preprocessor_config.json"
    said: Mapping[str, Any] = read_json(file) if file.exists() else read_json(folder / "processor_config.json")
    said = said.get("image_processor", said)
    try:
        size = said["size"]
        padded = "longest_edge" in size
        sides = (size["longest_edge"],) * 2 if padded else (size["width"], size["height"])
        return Frame(sides, padded, tuple(said["image_mean"]), tuple(said["image_std"]))
    except KeyError as error:
        raise ValueError(f"the settings of its image processor lack {error}") from error
