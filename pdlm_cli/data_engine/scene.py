"""A scene: a picture, its objects with masks, attributes and captions, and questions about the whole.

`draw_scene` is a pure function of its arguments: any worker draws the same scene, in any order.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from pdlm_cli.data_engine.attributes import PLAIN, Attributes, Part
from pdlm_cli.data_engine.background import background
from pdlm_cli.data_engine.captions import describe
from pdlm_cli.data_engine.choice import chance, pick
from pdlm_cli.data_engine.draw import Sprite, areas, blurred, draw_sprite, pose_matrix
from pdlm_cli.data_engine.kinds import Kind
from pdlm_cli.data_engine.levels import LEVELS, Level
from pdlm_cli.data_engine.limits import LARGEST_SEED, LARGEST_SIZE, MOST_OBJECTS, SMALLEST_SIZE, SPLITS
from pdlm_cli.data_engine.looks import SMALLEST_SURFACE, Look, choose_look, choose_variant
from pdlm_cli.data_engine.objects import SceneObject, box_of
from pdlm_cli.data_engine.placement import LARGEST_SHARE, SMALLEST_SHARE, Arrangement, Placed
from pdlm_cli.data_engine.questions import Question, View, ask

MOST_OF_A_KIND = 4

# How many pixels of a part, and how much of what was drawn, must show before a caption speaks of it, or of its shape.
PART_PIXELS, PART_VISIBLE, SHAPE_VISIBLE = 13, 0.4, 0.75
SHADOW, GRAIN = 0.35, 4  # darkness at most; brightness levels of 256
TRIES, SMALLER = 20, (1.0, 0.8, 0.65)  # places to try for an object, at each of these sizes


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """picture: (height, width, 3) uint8 RGB. objects: one to ten, from back to front. owner: (height, width) uint8,
    which part of which object a pixel shows, as `Arrangement` has it."""

    picture: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    questions: tuple[Question, ...]
    owner: NDArray[np.uint8]

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(objects, height, width); no pixel lies in two of them."""
        return np.stack([item.mask for item in self.objects])

    @property
    def captions(self) -> list[str]:
        return [item.caption for item in self.objects]

    def view(self, level: int) -> View:
        """What questions are made of. level: as for draw_scene."""
        return View(self.objects, self.picture.shape[1], LEVELS[level].kinds)


def draw_scene(
    seed: int,
    index: int,
    level: int = len(LEVELS) - 1,
    size: int = 128,
    *,
    split: str = "train",
    objects: tuple[int, int] | None = None,
    aspect: tuple[int, int] | None = None,
    plain: bool = False,
) -> Scene:
    """The scene of that number, the same wherever and whenever it is drawn.

    seed: 0 to LARGEST_SEED. index: 0 or more. split: of SPLITS; no two of them share a random stream. level: index into
    LEVELS. size: pixels along the shorter side. objects: fewest and most, aspect: width to height, instead of what the
    level draws. plain: captions all of one sentence shape. Raises ValueError if a value is out of range.
    """
    check(seed, index, level, size, split, objects)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([SPLITS.index(split), seed, index])))
    rules = LEVELS[level]
    width, height = picture_size(size, aspect or pick(rng, rules.aspects))
    fewest, most = objects or rules.objects
    wanted = int(rng.integers(fewest, most + 1))
    for attempt in count():
        arrangement = _arrange(rng, rules, width, height, wanted, room=0.9**attempt)
        if len(arrangement.placed) == wanted:
            break
    picture = _paint(rng, rules, arrangement)
    things = []
    for placed, visible, mask in zip(arrangement.placed, arrangement.visible(), arrangement.masks(), strict=True):
        attributes, hidden, codes = _seen(placed, visible)
        caption = describe(attributes, None if plain else rng)
        things.append(SceneObject(attributes, hidden, codes, mask, box_of(mask), caption))
    return Scene(picture, tuple(things), ask(rng, View(things, width, rules.kinds)), arrangement.owner)


def picture_size(size: int, aspect: tuple[int, int]) -> tuple[int, int]:
    """Width and height in pixels of a picture of that aspect whose shorter side is `size`."""
    across, down = aspect
    return round(size * max(1.0, across / down)), round(size * max(1.0, down / across))


def check(seed: int, index: int, level: int, size: int, split: str, objects: tuple[int, int] | None) -> None:
    """Raises ValueError unless draw_scene takes these."""
    if not 0 <= seed <= LARGEST_SEED or index < 0:
        raise ValueError(f"seed must be 0 to {LARGEST_SEED} and index 0 or more, found {seed} and {index}")
    if not 0 <= level < len(LEVELS):
        raise ValueError(f"level must be 0 to {len(LEVELS) - 1}, found {level}")
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise ValueError(f"size must be {SMALLEST_SIZE} to {LARGEST_SIZE} pixels, found {size}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, found {split!r}")
    if objects is not None and not 1 <= objects[0] <= objects[1] <= MOST_OBJECTS:
        raise ValueError(f"objects must be a fewest and a most within 1 to {MOST_OBJECTS}, found {objects}")


def _arrange(rng: np.random.Generator, rules: Level, width: int, height: int, wanted: int, room: float) -> Arrangement:
    """As many of the wanted objects as found a place. room: their size on the whole, 1 for all that there is."""
    arrangement = Arrangement(width, height)
    crowd = (0.4, 0.75) if rules.overlap else (0.2, 0.45)
    for share in _shares(rng, wanted, rng.uniform(*crowd) * room):
        others = [placed.look for placed in arrangement.placed]
        kind = _kind(rng, rules, [look.kind for look in others])
        variant = choose_variant(rng, kind)
        turn, stretch = rng.uniform(-rules.turn, rules.turn), rng.uniform(0.88, 1.14)
        flipped = chance(rng, 0.5)
        for smaller in SMALLER:
            pixels = share * width * height * smaller
            look = choose_look(rng, rules, kind, variant, pixels, others)
            matrix = pose_matrix(pixels / areas(kind.name, variant)[""], turn, stretch, flipped)
            sprite = draw_sprite(kind.name, variant, look.paints, matrix)
            if arrangement.fits(sprite) and _place(rng, arrangement, look, sprite, rules.overlap):
                break
    return arrangement


def _place(rng: np.random.Generator, arrangement: Arrangement, look: Look, sprite: Sprite, overlap: bool) -> bool:
    """Half of the objects keep clear of the others while there is room; if they may hide others at all."""
    hides = chance(rng, 0.5)
    for attempt in range(TRIES):
        x, y = _corner(rng, arrangement, look.kind, sprite.codes.shape)
        if arrangement.place(look, sprite, x, y, overlap=overlap and (hides or attempt >= TRIES // 2)):
            return True
    return False


def _shares(rng: np.random.Generator, wanted: int, covered: float) -> list[float]:
    """Of the picture, for each object; the largest first, so that it lies behind the others. covered: by several."""
    low, high = SMALLEST_SHARE * 1.25, LARGEST_SHARE * 0.92
    if wanted == 1:
        return [float(np.exp(rng.uniform(np.log(low * 2), np.log(high))))]
    weights = np.exp(rng.normal(0.0, 0.5, wanted))
    shares = weights / weights.sum() * covered
    return sorted(shares.clip(low, high).tolist(), reverse=True)


def _kind(rng: np.random.Generator, rules: Level, others: list[Kind]) -> Kind:
    """One of the kinds before, or any."""
    numbers = Counter(kind.name for kind in others)
    repeatable = [kind for kind in others if numbers[kind.name] < MOST_OF_A_KIND]
    if repeatable and chance(rng, rules.twin):
        return pick(rng, repeatable)
    return pick(rng, [kind for kind in rules.kinds if numbers[kind.name] < MOST_OF_A_KIND])


def _corner(rng: np.random.Generator, arrangement: Arrangement, kind: Kind, shape: tuple[int, ...]) -> tuple[int, int]:
    """Anywhere, or beside an object of the same kind. shape: height, width of the sprite."""
    height, width = shape
    x = int(rng.integers(arrangement.width - width + 1))
    y = int(rng.integers(arrangement.height - height + 1))
    twins = [placed for placed in arrangement.placed if placed.look.kind is kind]
    if twins and chance(rng, 0.5):
        twin = pick(rng, twins)
        gap = int(rng.integers(-width // 8, width // 3))
        left, right = twin.x - width - gap, twin.x + twin.sprite.codes.shape[1] + gap
        x = min(max(pick(rng, (left, right)), 0), arrangement.width - width)
        y = min(max(twin.y + int(rng.integers(-height // 3, height // 3 + 1)), 0), arrangement.height - height)
    return x, y


def _seen(placed: Placed, visible: NDArray[np.int64]) -> tuple[Attributes, tuple[str, ...], tuple[int, ...]]:
    """What can be said of an object, the parts of which nothing can, and the codes of the others. visible: pixels by
    code."""
    parts, hidden, codes = [], [], []
    for code, part in enumerate(placed.look.parts, 1):
        drawn, shown = int(placed.drawn[code]), int(visible[code])
        surface = part.pattern != PLAIN or part.material is not None
        if shown < max(PART_VISIBLE * drawn, SMALLEST_SURFACE / 2 if surface else PART_PIXELS):
            hidden.append(part.name)
            continue
        codes.append(code)
        if shown < SHAPE_VISIBLE * drawn:
            parts.append(Part(part.name, part.colors, part.pattern, part.material))
        else:
            parts.append(part)
    assert parts[0].name == placed.look.kind.main.name
    return Attributes(placed.look.kind.name, tuple(parts)), tuple(hidden), tuple(codes)


def _paint(rng: np.random.Generator, rules: Level, arrangement: Arrangement) -> NDArray[np.uint8]:
    """(height, width, 3) RGB, from back to front."""
    picture = background(rng, pick(rng, rules.backgrounds), arrangement.width, arrangement.height)
    for placed in arrangement.placed:
        if rules.rough:
            _shade(picture, placed)
        color, alpha = placed.sprite.rgba[:3], placed.sprite.rgba[3]
        window = picture[:, *placed.box]
        window *= 1 - alpha
        window += color
    picture *= 255
    if rules.rough:
        picture += rng.integers(-GRAIN, GRAIN + 1, picture.shape, np.int8)
    return np.ascontiguousarray(picture.clip(0, 255, out=picture).astype(np.uint8).transpose(1, 2, 0))


def _shade(picture: NDArray[np.float32], placed: Placed) -> None:
    """The soft shadow of an object, to its lower right."""
    alpha = placed.sprite.rgba[3]
    reach = max(2, round(alpha.size**0.5 * 0.05))
    shadow = blurred(alpha, reach)[reach:, reach:]
    window = picture[:, placed.y + reach // 2 :, placed.x + reach // 2 :][:, : shadow.shape[0], : shadow.shape[1]]
    window *= 1 - shadow[: window.shape[1], : window.shape[2]] * np.float32(SHADOW)
