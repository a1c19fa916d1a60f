"""One object as a sprite: outlines rasterised at three times the size, textured, shaded, reduced.

Everything at the large size is one byte a pixel (outline and shade); colors come in with a single table look-up just
before the reduction, and light after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from pdlm_cli.data_engine.outline import DETAILS, Outline, Variant
from pdlm_cli.data_engine.outlines import outlines
from pdlm_cli.data_engine.textures import DARK, GROUND, LIGHT, SECOND, TEXTURES

OVERSAMPLING = 3
EDGE = 4  # one more shade, after those of the textures
SHADES = 5
UNIT = 48  # pixels a unit, for measuring

DETAIL = 15  # code of what belongs to the object but to none of its parts


@dataclass(frozen=True, slots=True)
class Paint:
    """colors: RGB 0 to 255, one or two. texture: key of TEXTURES or None, with the width of a stripe in pixels and
    its direction in degrees."""

    colors: tuple[tuple[int, int, int], ...]
    texture: str | None = None
    width: float = 0.0
    direction: float = 0.0


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn object, cut to its box.

    rgba: (4, h, w) float32, 0 to 1, colors multiplied by alpha. codes: (h, w) uint8, 0 outside the mask, 1 + index
    into `parts` where that part is on top, DETAIL elsewhere inside.
    """

    rgba: NDArray[np.float32]
    codes: NDArray[np.uint8]
    parts: tuple[str, ...]


@cache
def areas(kind: str, variant: Variant) -> Mapping[str, float]:
    """Visible area of each part in square units; under "" that of the whole object."""
    drawn = outlines(kind, variant)
    points = np.concatenate([outline.points for outline in drawn])
    low = points.min(axis=0)
    labels = _rasterise(drawn, (points - low) * UNIT, (points.max(axis=0) - low) * UNIT)
    counts = np.bincount(labels.ravel(), minlength=len(drawn) + 1) / UNIT**2
    result = {"": float(counts[1:].sum())}
    for outline, area in zip(drawn, counts[1:], strict=True):
        result[outline.name] = result.get(outline.name, 0.0) + float(area)
    return result


def pose_matrix(area: float, turn: float, stretch: float, flipped: bool) -> NDArray[np.float64]:
    """(2, 2), from units to pixels. area: pixels a square unit. turn: degrees clockwise. stretch: width over height
    against the original; the area stays."""
    angle = np.radians(turn)
    cos, sin = np.cos(angle), np.sin(angle)
    scale = np.diag([(-1 if flipped else 1) * stretch**0.5, stretch**-0.5]) * area**0.5
    matrix: NDArray[np.float64] = np.array([[cos, -sin], [sin, cos]]) @ scale
    return matrix


def draw_sprite(kind: str, variant: Variant, paints: Mapping[str, Paint], matrix: NDArray[np.float64]) -> Sprite:
    """paints: of every part the variant has. matrix: see pose_matrix."""
    drawn = outlines(kind, variant)
    points = np.concatenate([outline.points for outline in drawn]) @ (matrix.T * OVERSAMPLING)
    low = points.min(axis=0) - OVERSAMPLING  # a pixel of margin, for the soft edge
    points -= low
    extent = np.ceil((points.max(axis=0) + OVERSAMPLING) / OVERSAMPLING) * OVERSAMPLING
    labels = _rasterise(drawn, points, extent)

    index = labels * np.uint8(SHADES)
    for name, paint in paints.items():
        if paint.texture is not None:
            _texture(index, labels, [i for i, o in enumerate(drawn, 1) if o.name == name], paint, matrix)
    np.copyto(index, labels * np.uint8(SHADES) + np.uint8(EDGE), where=_edges(labels))
    pixels = np.take(_palette(drawn, paints), index)
    # Colors outside are 0, so these are multiplied by alpha already: "RGBa" says that, and spares two conversions.
    large = Image.frombytes("RGBa", index.shape[::-1], pixels.tobytes())
    rgba = np.asarray(large.reduce(OVERSAMPLING)).transpose(2, 0, 1).astype(np.float32, order="C")
    rgba *= np.float32(1 / 255)
    alpha = rgba[3]

    names = tuple(paints)
    code = np.array([0, *(names.index(o.name) + 1 if o.name in names else DETAIL for o in drawn)], dtype=np.uint8)
    middle = OVERSAMPLING // 2
    centers = code[labels[middle::OVERSAMPLING, middle::OVERSAMPLING]]
    # At the rim the centre may lie outside although more than half of the pixel is covered.
    codes = np.where(alpha >= 0.5, np.where(centers == 0, np.uint8(DETAIL), centers), np.uint8(0))
    rgba[:3] *= _light(alpha)
    return Sprite(rgba, codes, names)


def _rasterise(
    drawn: tuple[Outline, ...], points: NDArray[np.float64], extent: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """(h, w): 1 + index of the outline on top, 0 outside. points: of all outlines one after the other, pixels."""
    width, height = (int(n) for n in np.ceil(extent))
    image = Image.new("L", (width, height))
    canvas = ImageDraw.Draw(image)
    flat: list[float] = points.ravel().tolist()
    start = 0
    for label, outline in enumerate(drawn, 1):
        end = start + 2 * len(outline.points)
        canvas.polygon(flat[start:end], fill=label)
        start = end
    return np.asarray(image)


def _texture(
    index: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    own: list[int],
    paint: Paint,
    matrix: NDArray[np.float64],
) -> None:
    """Add the shades of a part's texture to `index`, at the pixels of the labels `own`."""
    assert paint.texture is not None
    inside = labels == own[0]
    for label in own[1:]:
        inside |= labels == label
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    height, width = inside[window].shape
    # The texture turns with the object, but keeps its scale: pixels, turned back by the pose.
    back = matrix / np.sqrt(abs(np.linalg.det(matrix)))
    angle = np.radians(paint.direction)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    (xx, xy), (yx, yy) = (turn @ np.linalg.inv(back) / (paint.width * OVERSAMPLING)).astype(np.float32)
    across = np.arange(width, dtype=np.float32) - np.float32(width / 2)
    down = (np.arange(height, dtype=np.float32) - np.float32(height / 2))[:, None]
    # 0.5: the middle of a stripe, not a seam, lies in the middle of the part.
    shades = TEXTURES[paint.texture](
        xx * across + xy * down + np.float32(0.5), yx * across + yy * down + np.float32(0.5)
    )
    index[window] += shades * inside[window].view(np.uint8)


def _edges(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Beside another outline or the outside."""
    edges = np.zeros(labels.shape, dtype=np.bool_)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def _palette(drawn: tuple[Outline, ...], paints: Mapping[str, Paint]) -> NDArray[np.uint32]:
    """RGBA of every outline in every shade, as one number each."""
    table = np.zeros((len(drawn) + 1, SHADES, 4), dtype=np.float64)
    known = [paints[o.name].colors if o.name in paints else (DETAILS[o.name],) for o in drawn]
    tones = np.array([o.tone for o in drawn])[:, None]
    ground = np.array([colors[0] for colors in known]) * tones
    brightness = ground.sum(axis=1, keepdims=True)
    rows = table[1:, :, :3]
    rows[:, GROUND] = ground
    rows[:, SECOND] = np.array([colors[-1] for colors in known]) * tones
    # What should show as lighter on white, or as darker on black, goes the other way.
    rows[:, LIGHT] = np.where(brightness > 540, ground * 0.7, ground * 0.5 + 122)
    rows[:, DARK] = np.where(brightness < 160, ground * 0.4 + 70, ground * 0.6)
    rows[:, EDGE] = ground * 0.5
    table[1:, :, 3] = 255
    return np.ascontiguousarray(table.clip(0, 255).astype(np.uint8)).view(np.uint32).ravel()


def _light(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w), about 1: from the upper left, on a surface that curves away at the rim."""
    height, width = alpha.shape
    radius = max(1, round((width * height) ** 0.5 * 0.05))
    bulge = blurred(alpha, radius)
    light = bulge[2 * radius :, 2 * radius :] - bulge[: -2 * radius, : -2 * radius]
    light *= np.float32(0.2)
    light += np.linspace(1.06, 0.94, width, dtype=np.float32)
    light += np.linspace(0.06, -0.06, height, dtype=np.float32)[:, None]
    rim = bulge[radius:-radius, radius:-radius] * np.float32(1.4)
    light *= np.minimum(rim, np.float32(1)) * np.float32(0.45) + np.float32(0.55)
    return light


def blurred(alpha: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """(h + 2 radius, w + 2 radius), 0 to 1: alpha spread evenly over squares of 2 radius + 1 pixels."""
    height, width = alpha.shape
    padded = Image.new("L", (width + 2 * radius, height + 2 * radius))
    padded.paste(Image.fromarray((alpha * 255).astype(np.uint8)), (radius, radius))
    soft = np.asarray(padded.filter(ImageFilter.BoxBlur(radius)), dtype=np.float32)
    soft *= np.float32(1 / 255)
    return soft
