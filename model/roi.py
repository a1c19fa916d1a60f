"""RoI feature replay: each region's own features, sampled from the image tokens it lies on.

`replay` is RoI align (Mask R-CNN, section 3; aligned, two samples a bin and axis) by one `grid_sample` over a batch of
pictures, as in the paper. `replay_masked` leaves out what else lies in the box: where one object hides another, the
boxes of both hold much the same.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLES = 2  # per bin and axis
SLIVER = 1e-4  # of a bin: where less is the region's, rounding decides what it is
RELEASED_CELL = {"inference": 32, "training": 28}  # pixels a feature cell is taken for, under the released rule


def replay(
    tiles: Sequence[Tensor],
    grids: Sequence[tuple[int, int]],
    boxes: Sequence[Tensor],
    *,
    rule: str,
    size: int,
    cell: int = RELEASED_CELL["inference"],
) -> list[Tensor]:
    """RoI features of every region of every picture.

    tiles: per picture (T, n * n, D) image tokens. grids: tile columns, tile rows. boxes: per picture (R, 4) xyxy over
    width and height. rule: "aligned" samples the box from the mosaic; "released" takes the tokens after the first
    tile for the mosaic and divides the box, already in feature cells, by `cell` once more.
    Returns per picture (R, size * size, D), row by row.
    """
    maps = [mosaic(t, grid, rule) for t, grid in zip(tiles, grids, strict=True)]
    scale = 1.0 if rule == "aligned" else 1.0 / cell
    points = [sample_points(own, features, scale, size) for own, features in zip(boxes, maps, strict=True)]
    height, width = (max(features.shape[axis] for features in maps) for axis in (1, 2))
    count = max(len(own) for own in boxes)

    # Points are clamped to their own map, so that the padding to a common size is never seen.
    canvas = torch.stack([F.pad(f, (0, width - f.shape[2], 0, height - f.shape[1])) for f in maps]).float()
    where = torch.stack([F.pad(p, (0, 0, 0, 0, 0, 0, 0, count - len(p))) for p in points])
    extent = torch.tensor([width, height], device=where.device)
    grid = ((2 * where + 1) / extent - 1).flatten(1, 2)
    samples = F.grid_sample(canvas, grid, mode="bilinear", padding_mode="border", align_corners=False)
    bins = F.avg_pool2d(samples, SAMPLES).unflatten(2, (count, size))  # (B, D, R, size, size)
    rois = bins.permute(0, 2, 3, 4, 1).flatten(2, 3).to(tiles[0].dtype)
    return [features[: len(own)] for features, own in zip(rois, boxes, strict=True)]


def replay_masked(
    tiles: Sequence[Tensor],
    grids: Sequence[tuple[int, int]],
    boxes: Sequence[Tensor],
    masks: Sequence[Tensor],
    size: int,
) -> list[Tensor]:
    """RoI features of every region of every picture, of its own image tokens alone.

    As `replay` of the rule "aligned", but each bin is the mean of the tokens that lie in it, weighted by the
    part of the bin that lies in them and by the share of their patches that are the region's. A bin without any is 0.
    masks: per picture (R, T, g * g), whether a patch is the region's.
    """
    return [_masked(*each, size) for each in zip(tiles, grids, boxes, masks, strict=True)]


def _masked(tiles: Tensor, grid: tuple[int, int], boxes: Tensor, masks: Tensor, size: int) -> Tensor:
    features = mosaic(tiles, grid, "aligned")
    height, width = features.shape[1:]
    patches = mosaic(masks.permute(1, 2, 0).float(), grid, "aligned")  # (R, rows * g, columns * g)
    shares = F.avg_pool2d(patches, patches.shape[1] // height)
    across, down = (_parts(boxes[:, axis::2], cells, size) for axis, cells in enumerate((width, height)))
    weights = torch.einsum("riy,rjx,ryx->rijyx", down, across, shares).flatten(3).flatten(1, 2)
    weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=SLIVER)
    return weights.to(features.dtype) @ features.flatten(1).T


def _parts(spans: Tensor, cells: int, size: int) -> Tensor:
    """(R, size, cells): how much of each bin of the spans (R, 2), over the cells' whole, lies in each cell."""
    low, high = (spans.float() * cells).split(1, dim=1)
    edges = low + torch.arange(size + 1, device=spans.device) / size * (high - low)
    cell = torch.arange(cells, device=spans.device)
    upper = edges[:, 1:, None].minimum(cell + 1)
    return (upper - edges[:, :-1, None].maximum(cell)).clamp(min=0) * size / (high - low)[:, None]


def mosaic(tiles: Tensor, grid: tuple[int, int], rule: str) -> Tensor:
    """(T, n * n, D) tokens of one picture to its (D, rows * n, columns * n) feature map."""
    columns, rows = grid
    count = columns * rows
    # The thumbnail is last, yet the released code drops the first tile.
    own = tiles if count == 1 else tiles[1:] if rule == "released" else tiles[:count]
    side = round(tiles.shape[1] ** 0.5)
    squares = own.reshape(rows, columns, side, side, -1)
    return squares.permute(4, 0, 2, 1, 3).reshape(-1, rows * side, columns * side)


def sample_points(boxes: Tensor, features: Tensor, scale: float, size: int) -> Tensor:
    """Where RoI align samples a feature map (D, H, W) for boxes (R, 4), xyxy over the map's width and height.

    Returns (R, size * SAMPLES, size * SAMPLES, 2) points x, y in cells, cell 0 having its centre at 0, clamped to the
    map.
    """
    height, width = features.shape[1:]
    limits = torch.tensor([width, height], device=boxes.device)
    low, high = (boxes.float() * limits.repeat(2) * scale).split(2, dim=1)
    steps = (torch.arange(size * SAMPLES, device=boxes.device) + 0.5) / (size * SAMPLES)
    along = low[:, None] - 0.5 + steps[:, None] * (high - low)[:, None]  # (R, size * SAMPLES, 2)
    x, y = along.clamp(min=0).minimum(limits - 1).unbind(dim=2)
    across = (len(boxes), size * SAMPLES, size * SAMPLES)
    return torch.stack([x[:, None, :].expand(across), y[:, :, None].expand(across)], dim=3)
