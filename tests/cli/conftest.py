from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.settings import DecodeSettings
from pdlm_cli import caption_job
from pdlm_cli.engine import ModelEngine, load_engine
from tests.cli.support import REPOSITORY, Dataset, rle


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "photos"
    folder.mkdir()
    return Dataset(folder)


@pytest.fixture
def photo(tmp_path: Path) -> Dataset:
    """The example photo with its three masks, written as COCO by pycocotools."""
    source = REPOSITORY / "examples/photo"
    dataset = Dataset(tmp_path)
    with Image.open(source / "demo.jpg") as picture:
        width, height = picture.size
    image = dataset.image(width, height, name="demo.jpg", write=False)
    (tmp_path / "demo.jpg").write_bytes((source / "demo.jpg").read_bytes())
    for i in range(3):
        with Image.open(source / f"demo_mask_{i}.jpg") as mask:
            dataset.region(image, rle(np.asarray(mask.convert("L")) > 127))
    dataset.write()
    return dataset


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model without a process around it, which would have to import torch first."""

    @contextmanager
    def open_here(
        checkpoint: str | None,
        devices: Sequence[str],
        dtype: str,
        settings: DecodeSettings,
        timeout: float | None,
        *,
        quantize: str | None,
        compiled: bool,
    ) -> Iterator[ModelEngine]:
        (device,) = devices
        yield load_engine(checkpoint, device, dtype, settings, quantize=quantize, compiled=compiled)

    monkeypatch.setattr(caption_job, "open_workers", open_here)
