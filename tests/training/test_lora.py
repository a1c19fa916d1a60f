"""Adapters of the decoder: what learns, what is written, and that nothing is left of them in the trained model."""

import copy
from dataclasses import replace

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from model.pdlm import load_model
from model.sizes import random_model
from pdlm_cli.errors import ConfigError
from pdlm_cli.main import main
from pdlm_cli.training.checkpoints import TRAINED
from pdlm_cli.training.collate import Collator
from pdlm_cli.training.job import Lora, Noising, Optimizer
from pdlm_cli.training.lora import add_adapters, is_adapter, merged
from pdlm_cli.training.samples import Samples
from pdlm_cli.training.start import freeze, parameter_counts
from tests.training.support import job, job_values, squares, train, weights

LORA = {"rank": 4, "alpha": 8, "dropout": 0.1}


def batch_of(settings, model):
    samples = Samples(settings.data.sources, settings.data, model.config, model.tokens, seed=0)
    return Collator.of(settings, model.config, model.tokens)([samples[place] for place in range(settings.batch)])


def test_merged_weights_compute_what_the_adapters_do_as_peft_merges_them(tmp_path):
    model, lora = random_model("tiny", seed=0), Lora(rank=4, alpha=8, targets=("q_proj", "down_proj"))
    inputs = batch_of(job(squares(tmp_path, 3), tmp_path), model)
    plain = copy.deepcopy(model)
    before = plain(inputs.batch, inputs.aim)
    add_adapters(model, lora, seed=1)
    assert torch.equal(model(inputs.batch, inputs.aim), before)  # they start as nothing
    for name, parameter in model.named_parameters():
        if is_adapter(name):
            parameter.data = torch.randn_like(parameter) / 8
    adapted = model(inputs.batch, inputs.aim)
    assert abs(adapted - before) > 1e-3
    plain.load_state_dict(merged(model.state_dict(), lora))
    torch.testing.assert_close(plain(inputs.batch, inputs.aim), adapted)

    layer = model.language_model.model.layers[0].self_attn.q_proj
    layer.merge()
    torch.testing.assert_close(plain.language_model.model.layers[0].self_attn.q_proj.weight, layer.base_layer.weight)


def test_adapters_and_the_other_modules_learn(tmp_path):
    model = random_model("tiny", seed=0)
    decoder = sum(value.numel() for value in model.language_model.parameters())
    add_adapters(model, Lora(rank=2, targets=("o_proj",)), seed=0)
    freeze(model, Optimizer(lr=1.0, freeze=("vision",)), adapters=True)
    counts = parameter_counts(model)
    text = model.config.text_config
    width = text.num_attention_heads * text.head_dim + text.hidden_size
    assert counts["decoder"] == {"trainable": 2 * width * text.num_hidden_layers, "frozen": decoder}
    assert counts["vision"]["trainable"] == counts["connector"]["frozen"] == counts["regions"]["frozen"] == 0
    assert all(is_adapter(name) for name, value in model.language_model.named_parameters() if value.requires_grad)


def test_seeds_tell_adapters_apart_and_leave_the_random_state_alone():
    models = [random_model("tiny", seed=0) for _ in range(3)]
    state = torch.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        add_adapters(model, Lora(), seed)
    assert torch.equal(torch.get_rng_state(), state)
    first, same, other = (model.language_model.model.layers[0].mlp.up_proj.lora_A["default"].weight for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_trained_model_is_a_plain_checkpoint_and_its_decoder_changed_only_where_adapters_were(tmp_path):
    data, changes = squares(tmp_path / "data", 4), {"lora": LORA, "max_steps": 40, "optimizer": {"lr": 5e-3}}
    settings = job(data, tmp_path / "out", **changes)
    assert train(settings) == 0
    learnt = load_file(tmp_path / "out/checkpoints/checkpoint-40" / TRAINED)
    assert {name.split(".")[0] for name in learnt} == {
        "vision_model",
        "vision_abstractor",
        "language_model",
        "mask_id_embedding",
    }
    assert all(is_adapter(name) for name in learnt if name.startswith("language_model"))

    model = load_model(tmp_path / "out/model", dtype=torch.float32, device=torch.device("cpu"))
    after = copy.deepcopy(model.state_dict())
    assert train(job(data, tmp_path / "start", **changes | {"max_steps": 1, "optimizer": {"lr": 1e-12}})) == 0
    before = weights(tmp_path / "start")
    inputs = batch_of(replace(settings, batch=12, noise=Noising(times="stratified")), model)
    late = model(inputs.batch, inputs.aim).item()
    model.load_state_dict(before)
    assert late < model(inputs.batch, inputs.aim).item() - 0.3  # frozen random embeddings leave no more
    assert before.keys() == after.keys()
    moved = {
        name.split(".")[-2]
        for name, value in after.items()
        if name.startswith("language_model.") and not torch.allclose(value, before[name], atol=1e-6)
    }
    assert moved == set(Lora().targets)


def test_jobs_that_cannot_be_are_refused(tmp_path):
    data = squares(tmp_path / "data", 3)
    with pytest.raises(ValueError, match="leave decoder out"):
        job(data, tmp_path / "out", lora=LORA, optimizer={"lr": 1, "freeze": ["decoder"]})
    with pytest.raises(ValueError, match=r"lora\.rank"):
        job(data, tmp_path / "out", lora={"rank": 0})
    with pytest.raises(ConfigError, match=r"lora\.targets: expected some of down_proj, .*, found fc1"):
        train(job(data, tmp_path / "out", lora={"targets": ["fc1", "q_proj"]}))


def test_dry_run_counts_adapters(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job_values(squares(tmp_path / "data", 3), tmp_path / "out", lora=LORA)))
    result = CliRunner().invoke(main, ["train", str(file), "--dry-run"])
    assert result.exit_code == 0, result.output
    [decoder] = [line.split() for line in result.output.splitlines() if line.startswith("decoder ")]
    per_block = 4 * (4 * (48 + 48) + 3 * (48 + 96))
    assert decoder[1].replace(",", "") == str(2 * per_block)
