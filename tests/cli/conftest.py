from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.settings import DecodeSettings
from pdlm_cli import caption_job
from pdlm_cli.engine import ModelEngine, load_engine
from tests.cli.support import Dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "photos"
    folder.mkdir()
    return Dataset(folder)


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
