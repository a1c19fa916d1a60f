"""The estimate of a step's work against what torch counts."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from model.sizes import random_model
from model.words import Both, caption_words
from pdlm_cli.training import meter as meters
from pdlm_cli.training import trainer
from pdlm_cli.training.collate import Collator, TrainingBatch
from pdlm_cli.training.flops import batch_flops
from pdlm_cli.training.job import Lora, Optimizer
from pdlm_cli.training.lora import add_adapters
from pdlm_cli.training.meter import Meter, peak_flops
from pdlm_cli.training.samples import Samples
from pdlm_cli.training.start import freeze
from tests.training.support import job, squares, train

WITH_PARAMETERS = ("mm", "addmm", "convolution", "convolution_backward")  # not attention, nor sums over footprints


@pytest.mark.parametrize(
    ("frozen", "lora", "replace"),
    [
        ((), None, 0.0),
        (("vision",), None, 0.0),
        (("vision", "regions"), None, 0.0),
        (("vision", "decoder", "regions"), None, 0.5),
        (("vision",), Lora(rank=4), 0.5),
    ],
    ids=["all", "regions through frozen vision", "vision forward only", "connector", "lora"],
)
def test_operations_are_those_that_torch_counts(tmp_path, frozen, lora, replace):
    model = random_model("tiny", seed=0)
    if lora is not None:
        add_adapters(model, lora, seed=0)
    freeze(model, Optimizer(lr=1.0, freeze=frozen), adapters=lora is not None)
    settings = job(squares(tmp_path, 3), tmp_path, noise={"replace": replace})
    samples = Samples(settings.data.sources, settings.data, model.config, model.tokens, seed=0)
    inputs = Collator.of(settings, model.config, model.tokens)([samples[0]])
    with FlopCounterMode(display=False) as counter:
        model(inputs.batch, inputs.aim).backward()
    counted = sum(
        value
        for operation, value in counter.get_flop_counts()["Global"].items()
        if str(operation).removeprefix("aten.") in WITH_PARAMETERS
    )
    assert batch_flops(model, inputs) == pytest.approx(counted, rel=0.03)


def test_words_beside_captions_count_for_the_head_alone(tmp_path):
    model = random_model("tiny", seed=0)
    settings = job(squares(tmp_path, 3), tmp_path)
    samples = Samples(settings.data.sources, settings.data, model.config, model.tokens, seed=0)
    inputs = Collator.of(settings, model.config, model.tokens)([samples[0]])
    words = caption_words(inputs.batch, torch.zeros(model.config.text_config.vocab_size))
    both = replace(inputs, aim=Both(inputs.aim, words))
    head = 6 * model.language_model.lm_head.weight.numel()
    assert batch_flops(model, both) - batch_flops(model, inputs) == head * len(words.present)


def test_a_forward_is_counted_once_and_where_its_batch_was_made(tmp_path, monkeypatch):
    counted = []

    def count(model, inputs) -> float:
        counted.append(inputs.places)
        return batch_flops(model, inputs)

    monkeypatch.setattr(trainer, "batch_flops", count)
    monkeypatch.setattr(TrainingBatch, "to", lambda self, device: replace(self, places=(-1,)))
    assert train(job(squares(tmp_path / "data", 3), tmp_path / "out", max_steps=2)) == 0
    assert sorted(place for places in counted for place in places) == list(range(8))


def test_utilisation_is_work_by_time_and_peak(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(meters.time, "perf_counter", lambda: next(clock))
    meter = Meter(Console(), bar=False, total=9, done=0, peak_flops=100.0)
    meter.add(tokens=6, flops=40.0)
    meter.add(tokens=2, flops=20.0)
    assert meter.read() == {"tokens_per_second": 4.0, "flop_utilisation": 0.3}


def test_evaluations_and_checkpoints_do_not_slow_the_steps_down(monkeypatch):
    clock = iter([10.0, 11.0, 18.0, 19.0])
    monkeypatch.setattr(meters.time, "perf_counter", lambda: next(clock))
    meter = Meter(Console(), bar=False, total=9, done=0, peak_flops=None)
    meter.add(tokens=8, flops=0.0)
    with meter.aside():
        pass
    assert meter.read() == {"tokens_per_second": 4.0}


def test_cards_of_one_chip_have_peaks_of_their_own():
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("Tesla T4") is None


def test_the_bar_tells_loss_speed_utilisation_and_time_left():
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=80)
    with Meter(console, bar=True, total=2200, done=0, peak_flops=1.0) as meter:
        meter.show({"loss": 1.2345, "learning_rate": 1e-3, "tokens_per_second": 123456.7, "flop_utilisation": 0.412})
        meter.step(301)
    shown = terminal.getvalue()
    for part in ("301/2200", "loss 1.234", "123,457 tokens/s", "41% MFU", "left"):
        assert part in shown
    assert "…" not in shown  # nothing is cut off
    meter.show({"loss": 2.0, "tokens_per_second": 9.0})  # of a device whose peak is not known
