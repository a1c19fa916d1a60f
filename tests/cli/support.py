"""Inputs on disk and an engine without a network, for the tests of the pipeline."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from model.settings import DecodeSettings
from pdlm_cli.caption_job import CaptionJob
from pdlm_cli.inputs import MAX_PIXELS, MAX_REGIONS

REPOSITORY = Path(__file__).parents[2]
PHOTO = REPOSITORY / "examples/photo"
PHOTO_MASKS = [PHOTO / f"demo_mask_{i}.jpg" for i in range(3)]
CHECKPOINT = REPOSITORY / "tests/data/region/checkpoint"


def rle(mask: np.ndarray) -> dict[str, Any]:
    """Compressed run lengths of a mask (height, width), by pycocotools."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def box_mask(width: int, height: int, x: int, y: int, w: int, h: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[y : y + h, x : x + w] = True
    return mask


@contextmanager
def no_thread_left() -> Iterator[None]:
    """A watchdog that was called off takes a moment to notice."""
    before = threading.active_count()
    yield
    for _ in range(250):
        if threading.active_count() == before:
            return
        time.sleep(0.02)
    raise AssertionError(threading.enumerate())


class Dataset:
    """A COCO file and its pictures in a folder, built up image by image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "masks.json"
        self.coco: dict[str, Any] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 1, "name": "thing"}],
        }

    def image(self, width: int = 40, height: int = 30, *, name: str | None = None, write: bool = True) -> int:
        number = len(self.coco["images"]) + 1
        name = name or f"{number}.png"
        if write:
            noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise).save(self.folder / name)
        self.coco["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        return number

    def region(self, image: int, segmentation: Any = None, **fields: Any) -> int:
        """A box of its own size unless a segmentation is given."""
        number = len(self.coco["annotations"]) + 1
        if segmentation is None:
            size = self.coco["images"][image - 1]
            width, height = size["width"], size["height"]
            segmentation = rle(box_mask(width, height, number % 7, number % 5, 3 + number % 11, 3 + number % 9))
        entry = {"id": number, "image_id": image, "category_id": 1, "segmentation": segmentation, "iscrowd": 0}
        self.coco["annotations"].append(entry | fields)
        return number

    def write(self) -> Path:
        self.file.write_text(json.dumps(self.coco))
        return self.file

    def job(self, output: Path, **changes: Any) -> CaptionJob:
        self.write()
        values = {
            "input": str(self.file),
            "format": "auto",
            "images": str(self.folder),
            "masks": None,
            "since": (),
            "exif": "auto",
            "max_pixels": MAX_PIXELS,
            "max_regions": MAX_REGIONS,
            "output": output,
            "model": str(CHECKPOINT),
            "devices": ("cpu",),
            "dtype": "fp32",
            "decode": DecodeSettings(),
            "seed": 0,
            "batch_size": 2,
            "pass_timeout": None,
            "limit": None,
            "shard": None,
            "part_rows": 1000,
            "workers": 2,
            "max_error_rate": 0.0,
            "allow_outside": False,
            "overwrite": False,
            "retry_errors": False,
            "dry_run_model": False,
            "also": (),
        }
        return CaptionJob(**(values | changes))


@dataclass
class StubEngine:
    """Stands for the network alone: a caption names the area of its mask and the seed it was given."""

    max_regions: int = 3
    tile_size: int = 128
    batch_size: int = 4
    parallel: int = 1
    incidents: dict[str, int] = field(default_factory=dict)
    busy: tuple[tuple[str, float], ...] = ()
    model_sha256: str = "0" * 64
    facts: dict[str, str] = field(default_factory=lambda: {"model": "stub", "device": "none", "dtype": "fp32"})
    batches: list[list[int]] = field(default_factory=list)
    images_prepared: int = 0

    def prepare_image(self, picture: Image.Image) -> Any:
        assert picture.mode == "RGB"
        self.images_prepared += 1
        return picture.size

    def prepare_pass(self, image: Any, masks: np.ndarray, seeds: list[int], instruction: str | None) -> Any:
        assert masks.dtype == bool
        assert masks.shape[1:] == image[::-1]
        assert 1 <= len(masks) <= self.max_regions
        assert masks.any(axis=(1, 2)).all()
        assert len(seeds) == len(masks)
        return [(int(mask.sum()), seed) for mask, seed in zip(masks, seeds, strict=True)]

    def caption(self, passes: list[Any]) -> list[Any]:
        self.batches.append([len(regions) for regions in passes])
        return [
            SimpleNamespace(
                captions=[
                    SimpleNamespace(
                        text=f"area {area} seed {seed}",
                        tokens=[1, 2, 3],
                        finish_reason="eos",
                        tokens_generated=3,
                        mean_confidence=0.5,
                        denoise_steps=4,
                    )
                    for area, seed in regions
                ],
                slots=list(range(len(regions))),
                together=len(passes),
                encode_ms=1.0,
                decode_ms=2.0,
                encode_share_ms=1.0 / len(passes),
                decode_share_ms=2.0 / len(passes),
            )
            for regions in passes
        ]
