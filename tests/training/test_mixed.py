"""Regions and questions about whole pictures in one run, and in one batch."""

import json

import torch

from model.preprocess import PreparedPass
from model.sizes import random_model
from pdlm_cli.training.collate import Collator
from pdlm_cli.training.samples import Samples
from tests.training.support import COLOURS, job, squares, train


def mixed_sources(folder):
    """Squares with captions, and the same pictures with the color of all their squares asked."""
    file = squares(folder, 4, regions=2, columns=2)
    records = json.loads(file.read_text())
    for record in records:
        colors = sorted({caption.split()[0] for caption in record["captions"]} & set(COLOURS))
        record["conversations"] = [
            {"from": "human", "value": "<image>\nWhich colors?"},
            {"from": "gpt", "value": " ".join(colors)},
        ]
    chat = folder / "chat.json"
    chat.write_text(json.dumps(records))
    return [{"path": str(file)}, {"path": str(chat), "kind": "chat"}]


def test_a_mixed_batch_equals_its_samples_one_by_one(tmp_path):
    model = random_model("tiny", seed=0)
    settings = job(tmp_path, tmp_path, data={"sources": mixed_sources(tmp_path), "caption_length": 6, "workers": 0})
    samples = Samples(settings.data.sources, settings.data, model.config, model.tokens, seed=0)
    found = [samples[place] for place in range(6)]
    assert {isinstance(sample.prepared, PreparedPass) for sample in found} == {True, False}
    collate = Collator.of(settings, model.config, model.tokens)

    def gradients(*batches) -> tuple[float, dict[str, torch.Tensor]]:
        model.zero_grad()
        losses = [model(inputs.batch, inputs.aim) / len(batches) for inputs in batches]
        torch.stack(losses).sum().backward()
        return sum(loss.item() for loss in losses), {n: p.grad.clone() for n, p in model.named_parameters()}

    loss, together = gradients(collate(found))
    expected, alone = gradients(*(collate([sample]) for sample in found))
    torch.testing.assert_close(loss, expected)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-6, msg=name)
    assert together["mask_id_embedding.weight"].abs().max() > 0

    chat = [sample for sample in found if not isinstance(sample.prepared, PreparedPass)]
    _, asked = gradients(collate(chat))  # every parameter takes part, which DDP needs
    assert asked["mask_id_embedding.weight"].abs().max() == 0


def test_a_mixed_run_learns_both(tmp_path):
    sources = mixed_sources(tmp_path / "data")
    data = {"caption_length": 6, "answer_length": 8, "workers": 0}
    settings = job(
        tmp_path,
        tmp_path / "out",
        data=data | {"sources": sources, "held_out": sources},
        batch=8,
        micro_batch=8,
        max_steps=80,
        optimizer={"lr": 3e-3, "betas": [0.9, 0.98]},
        noise={"times": "stratified"},
        report={"log": 40, "save": 1000, "eval": 40, "samples": 4, "steps": 4, "to": []},
    )
    assert train(settings) == 0
    events = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    first, *_, last = (event for event in events if event.get("event") == "evaluation")
    for kind in ("eval_loss_regions", "eval_loss_chat"):
        assert last[kind] < 0.8 * first[kind]
    assert len(list((tmp_path / "out/samples/step-000080").glob("*.png"))) == 4
