"""Several passes in one forward: layouts padded to a common shape, pictures side by side.

Prefixes are padded to the longest prefix and answers to the longest answer, so that the answer of every row of the
batch is the same slice. Padding is seen by nobody (see `structured_mask`); positions come from the layouts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import PerceptionDLMConfig
from model.layout import Kind, Layout, plan_pass
from model.preprocess import PreparedImage, PreparedPass
from model.tokens import Tokens


@dataclass(frozen=True)
class Batch:
    """B layouts with their pictures, as tensors.

    tiles: (sum of T, 3, S, S) uint8, of pictures in the order in which layouts show them; one blank tile that none
    shows where there is no picture, for towers cannot look at nothing. tile_counts, grids: per picture. footprints:
    (sum of T, max_regions, g * g), how many regions of the picture put each region prompt on each patch; None without
    regions. boxes: per picture (R, 4) xyxy over width and height. masks: per picture (R, T, g * g) bool, the patches of
    each region.
    input_ids, position_ids, kind, region, labelled: (B, L) as in `Layout`; image: (B, L) where image features go.
    slots: (B, R, G) caption slots as places in the sequence, -1 where there is none. prefix: length of all prefixes.
    twin: (B, L) tokens that `with_twins` added, None if it did not.
    """

    tiles: Tensor
    tile_counts: tuple[int, ...]
    grids: tuple[tuple[int, int], ...]
    footprints: Tensor | None
    boxes: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    input_ids: Tensor
    position_ids: Tensor
    kind: Tensor
    region: Tensor
    labelled: Tensor
    image: Tensor
    slots: Tensor
    prefix: int
    twin: Tensor | None = None

    def to(self, device: torch.device) -> Self:
        """The same batch on a device, from where it is in host memory."""

        def move(value: object) -> object:
            if isinstance(value, Tensor):
                # The host goes on while pinned memory is copied, and waits for any other.
                pinned = value.pin_memory() if device.type == "cuda" and value.is_cpu else value
                return pinned.to(device, non_blocking=True)
            return tuple(move(item) for item in value) if isinstance(value, tuple) else value

        return type(self)(**{field.name: move(getattr(self, field.name)) for field in fields(self)})  # type: ignore[arg-type]

    @property
    def answer(self) -> slice:
        """The part of the sequence after the prefixes."""
        return slice(self.prefix, self.input_ids.shape[1])


def plan_blank(
    tokens: Tokens, config: PerceptionDLMConfig, prepared: PreparedPass, length: int, instruction: str | None
) -> Layout:
    """The layout of a pass whose captions, of `length` slots each, are still to be written. instruction: where the pass
    has none of its own; None for the one the model learnt."""
    return plan_pass(
        tokens,
        config,
        tiles=len(prepared.image.tiles),
        captions=[[tokens.mask] * length] * len(prepared.order),
        markers=prepared.markers,
        instruction=prepared.instruction or instruction,
    )


def collate_passes(
    passes: Sequence[PreparedPass | PreparedImage], layouts: Sequence[Layout], config: PerceptionDLMConfig
) -> Batch:
    """Passes of a region model, and pictures that are only asked about among them, with their layouts.

    A layout that shows several pictures has as many of `passes`, one after the other; one of text alone has none.
    """
    assert config.regions is not None
    images = [prepared.image if isinstance(prepared, PreparedPass) else prepared for prepared in passes]
    most, patches = config.regions.max_regions, config.patch_grid**2
    footprints = [_footprint_counts(prepared, most, patches) for prepared in passes]
    boxes = [prepared.boxes if isinstance(prepared, PreparedPass) else np.zeros((0, 4)) for prepared in passes]
    masks = [_region_patches(prepared, patches) for prepared in passes]
    return _collate(
        images,
        layouts,
        config.tile_size,
        torch.cat(footprints or [torch.zeros(1, most, patches)]),
        tuple(torch.from_numpy(own).float() for own in boxes),
        tuple(masks),
    )


def collate_images(images: Sequence[PreparedImage], layouts: Sequence[Layout], config: PerceptionDLMConfig) -> Batch:
    """Pictures with their layouts, of which each may show several or none, without regions."""
    return _collate(images, layouts, config.tile_size, None, (), ())


def with_twins(batch: Batch) -> Batch:
    """Every caption once more, after the answers, at the same positions: to be learnt in two states of noise from one
    look at the picture. For isolated captions, which nothing else sees; other answers have no twin."""
    answer = batch.answer
    captions = batch.kind[:, answer] == Kind.CAPTION

    def twice(values: Tensor, fill: int | bool) -> Tensor:
        return torch.cat([values, values[:, answer].masked_fill(~captions, fill)], dim=1)

    return replace(
        batch,
        input_ids=twice(batch.input_ids, 0),
        position_ids=twice(batch.position_ids, 0),
        kind=twice(batch.kind, Kind.PAD),
        region=twice(batch.region, -1),
        labelled=twice(batch.labelled, False),
        image=F.pad(batch.image, (0, captions.shape[1])),
        twin=F.pad(torch.zeros_like(batch.labelled), (0, captions.shape[1]), value=True),
    )


def _region_patches(prepared: PreparedPass | PreparedImage, patches: int) -> Tensor:
    if isinstance(prepared, PreparedImage):
        return torch.zeros(0, len(prepared.tiles), patches, dtype=torch.bool)
    return torch.from_numpy(prepared.footprints).flatten(2)


def _footprint_counts(prepared: PreparedPass | PreparedImage, max_regions: int, patches: int) -> Tensor:
    if isinstance(prepared, PreparedImage):
        return torch.zeros(len(prepared.tiles), max_regions, patches)
    regions, tiles = prepared.footprints.shape[:2]
    counts = np.zeros((tiles, max_regions, prepared.footprints[0, 0].size), dtype=np.float32)
    for slot in range(regions):
        counts[:, prepared.prompts[slot]] += prepared.footprints[slot].reshape(tiles, -1)
    return torch.from_numpy(counts)


def _collate(
    images: Sequence[PreparedImage],
    layouts: Sequence[Layout],
    side: int,
    footprints: Tensor | None,
    boxes: tuple[Tensor, ...],
    masks: tuple[Tensor, ...],
) -> Batch:
    """side: of a tile, in pixels."""
    prefix = max(layout.prefix for layout in layouts)
    answer = max(len(layout.input_ids) - layout.prefix for layout in layouts)

    def rows(values: Sequence[Tensor], fill: int | bool) -> Tensor:
        """(B, prefix + answer): each value's prefix and answer padded on the right with `fill`."""
        parts = []
        for value, layout in zip(values, layouts, strict=True):
            before, after = value[: layout.prefix], value[layout.prefix :]
            before = F.pad(before, (0, prefix - len(before)), value=fill)
            parts.append(torch.cat([before, F.pad(after, (0, answer - len(after)), value=fill)]))
        return torch.stack(parts)

    def is_image(layout: Layout) -> Tensor:
        return torch.zeros_like(layout.labelled).index_fill(0, layout.image, True)

    regions, length = (max(layout.slots.shape[axis] for layout in layouts) for axis in (0, 1))
    slots = torch.full((len(layouts), regions, length), -1)
    for row, layout in enumerate(layouts):
        own = torch.where(layout.slots < 0, -1, layout.slots - layout.prefix + prefix)
        slots[row, : own.shape[0], : own.shape[1]] = own

    tiles = [image.tiles for image in images] or [np.zeros((1, 3, side, side), dtype=np.uint8)]
    return Batch(
        tiles=torch.from_numpy(np.concatenate(tiles)),
        tile_counts=tuple(len(image.tiles) for image in images),
        grids=tuple(image.grid for image in images),
        footprints=footprints,
        boxes=boxes,
        masks=masks,
        input_ids=rows([layout.input_ids for layout in layouts], 0),
        position_ids=rows([layout.position_ids for layout in layouts], 0),
        kind=rows([layout.kind for layout in layouts], Kind.PAD),
        region=rows([layout.region for layout in layouts], -1),
        labelled=rows([layout.labelled for layout in layouts], False),
        image=rows([is_image(layout) for layout in layouts], False),
        slots=slots,
        prefix=prefix,
    )
