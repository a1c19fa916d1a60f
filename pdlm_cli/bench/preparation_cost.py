"""What preparing a picture costs beyond decoding and resizing it: tiles and footprints, one core."""

import time

import numpy as np
from PIL import Image

from model.geometry import choose_grid
from model.resize import resize
from pdlm_cli.engine_dry import GEOMETRY, DryEngine

WIDTH, HEIGHT, MASKS = 1024, 768, 5


def milliseconds(repeats: int) -> list[float]:
    """CPU time of this thread, of each repeat; with the tiles of the released checkpoint."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    masks = np.zeros((MASKS, HEIGHT, WIDTH), dtype=bool)
    for i, mask in enumerate(masks):
        mask[50 * i : 300 + 80 * i, 90 * i : 400 + 60 * i] = True
    tile = GEOMETRY.tile_size
    columns, rows = choose_grid(WIDTH, HEIGHT, tile, GEOMETRY.min_tiles, GEOMETRY.max_tiles)
    engine = DryEngine()
    found = []
    for _ in range(repeats + 1):
        started = time.thread_time()
        for size in ((columns * tile, rows * tile), (tile, tile)):
            resize(picture, size)
        resized = time.thread_time()
        engine.prepare_pass(engine.prepare_image(picture), masks, [0] * MASKS, None)
        found.append(1e3 * (time.thread_time() - resized - (resized - started)))
    return found[1:]
