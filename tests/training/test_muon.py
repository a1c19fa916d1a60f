"""Muon for matrices and AdamW for the rest, as one optimizer."""

import copy

import pytest
import torch
from torch import nn

from model.sizes import random_model
from pdlm_cli.training.job import Optimizer
from pdlm_cli.training.muon import MuonAdamW
from pdlm_cli.training.start import parameter_groups
from tests.training.support import assert_equal_weights, job, losses, squares, train


def small() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"matrix": nn.Linear(6, 4, bias=False), "gain": nn.LayerNorm(4)})


def optimizer(model: nn.ModuleDict) -> MuonAdamW:
    groups = [
        {"params": list(model["matrix"].parameters()), "lr": 1e-2, "weight_decay": 0.1, "matrices": True},
        {"params": list(model["gain"].parameters()), "lr": 1e-2, "weight_decay": 0.0, "matrices": False},
    ]
    return MuonAdamW(groups, betas=(0.9, 0.98), eps=1e-8)


def step(model: nn.ModuleDict, number: int, *optimizers: torch.optim.Optimizer) -> None:
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(number))
    loss = (model["gain"](model["matrix"](inputs)) - inputs[:, :4]).pow(2).mean()
    model.zero_grad()
    loss.backward()
    for each in optimizers:
        each.step()


def test_it_takes_the_steps_of_both():
    one, other = small(), small()
    together = optimizer(one)
    muon = torch.optim.Muon(other["matrix"].parameters(), 1e-2, 0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(other["gain"].parameters(), 1e-2, betas=(0.9, 0.98), weight_decay=0.0)
    for number in range(5):
        step(one, number, together)
        step(other, number, muon, adamw)
    for name, value in other.state_dict().items():
        assert torch.equal(one.state_dict()[name], value), name


def test_it_goes_on_from_a_stored_state():
    model = small()
    steps = optimizer(model)
    for number in range(3):
        step(model, number, steps)
    later, loaded = copy.deepcopy(model), copy.deepcopy(steps.state_dict())
    again = optimizer(later)
    again.load_state_dict(loaded)
    for number in range(3, 6):
        step(model, number, steps)
        step(later, number, again)
    assert torch.equal(model["matrix"].weight, later["matrix"].weight)
    assert torch.equal(model["gain"].weight, later["gain"].weight)


def test_matrices_between_hidden_states_are_for_muon():
    model = random_model("tiny")
    groups = parameter_groups(model, Optimizer(lr=1.0, method="muon", weight_decay=0.1))
    chosen = {id(value) for group in groups if group["matrices"] for value in group["params"]}
    names = {name for name, value in model.named_parameters() if id(value) in chosen}
    assert "language_model.model.layers.0.mlp.up_proj.weight" in names
    assert "vision_abstractor.projection.0.weight" in names
    assert not any("embed" in name or "lm_head" in name or name.endswith("bias") for name in names)
    assert not any(group["matrices"] for group in parameter_groups(model, Optimizer(lr=1.0)))


def test_a_run_learns_and_resumes_as_if_it_had_not_stopped(tmp_path):
    file = squares(tmp_path / "data", 4)
    values = {"optimizer": {"lr": 3e-3, "method": "muon"}, "max_steps": 40}
    report = {"log": 1, "save": 20, "to": []}
    assert train(job(file, tmp_path / "one", **values, report=report)) == 0
    assert train(job(file, tmp_path / "two", **values, report=report)) == 0
    for path in (tmp_path / "two/model", tmp_path / "two/checkpoints/checkpoint-40"):
        path.rename(path.with_name(".gone"))
    assert train(job(file, tmp_path / "two", **values, report=report), resume=True) == 0
    assert_equal_weights(tmp_path / "one", tmp_path / "two")
    found = list(losses(tmp_path / "one").values())
    assert sum(found[-10:]) < 0.8 * sum(found[:10])


def test_sharded_matrices_are_refused(tmp_path):
    with pytest.raises(ValueError, match="muon needs whole matrices"):
        job(tmp_path, tmp_path, optimizer={"lr": 1e-3, "method": "muon"}, strategy="fsdp2")
