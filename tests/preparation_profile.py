"""Where the preparation of pictures spends its time: `python -m tests.preparation_profile`.

JPEGs of 1024 x 768 pixels with five masks each, as run lengths, read, decoded and prepared as `pdlm caption` does it,
for the tiles of the released checkpoint, in one thread. CPU time by cProfile, which takes some itself.
"""

import cProfile
import json
import pstats
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pdlm_cli.engine_dry import DryEngine
from pdlm_cli.preparation import Preparation, prepare
from pdlm_cli.sources import open_with_sources

PICTURES, WIDTH, HEIGHT, MASKS = 30, 1024, 768, 5
SHOWN = 12


def write_input(folder: Path, pictures: int) -> Path:
    """Smooth noise and ellipses. Returns the COCO file."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    images, annotations = [], []
    for number in range(1, pictures + 1):
        noise = Image.fromarray(rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8))
        noise.resize((WIDTH, HEIGHT)).save(folder / f"{number}.jpg", quality=90)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT})
        for _ in range(MASKS):
            (a, b), (c, d) = rng.uniform(60, 200, 2), (rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT))
            columns = (((x - c) / a) ** 2 + ((y - d) / b) ** 2 < 1).T.ravel()  # COCO goes down the columns
            ends = np.flatnonzero(np.diff(columns, prepend=False, append=False))
            counts = np.diff(ends, prepend=0, append=columns.size).tolist()
            mask = {"size": [HEIGHT, WIDTH], "counts": counts}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "segmentation": mask})
    file = folder / "coco.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations}))
    return file


def profiled(pictures: int) -> dict[str, float]:
    """Milliseconds of CPU an image of the functions that take most, largest first, and of all together."""
    engine, profiler = DryEngine(), cProfile.Profile(time.process_time)
    with tempfile.TemporaryDirectory() as name:
        manifest, sources = open_with_sources(str(write_input(Path(name), pictures)))
        how = Preparation(sources=sources, seed=0)
        profiler.enable()
        for entry in manifest:
            assert prepare(entry, 0, engine, how).passes
        profiler.disable()
    stats = pstats.Stats(profiler)
    own = {f"{Path(file).name}:{function}": row[2] for (file, _, function), row in stats.stats.items()}  # type: ignore[attr-defined]
    largest = sorted(own, key=lambda name: -own[name])[:SHOWN]
    return {name: 1e3 * own[name] / pictures for name in largest} | {"all": 1e3 * sum(own.values()) / pictures}


if __name__ == "__main__":
    for name, milliseconds in profiled(PICTURES).items():
        print(f"{milliseconds:7.2f} ms  {name}")
