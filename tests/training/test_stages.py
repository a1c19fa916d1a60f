"""The paper's stages, one after the other, as their committed jobs say, with a model small enough to try."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pdlm_cli.training.job import MODULES, ModelStart, RandomModel, load_job
from pdlm_cli.training.start import start_model
from tests.cli.support import REPOSITORY
from tests.training.support import squares, train, weights

STAGES = ("stage1-align", "stage2-mid", "stage3-instruct", "stage4-refine", "region")
LEARN = {"stage1-align": {"connector"}, "region": {"connector", "decoder", "regions"}}  # the others: see below


def chat(folder: Path) -> Path:
    """Parquet of pictures and conversations, text alone among them, as open data sets publish them."""
    file = squares(folder / "pictures", 6)
    rows = [
        {
            "id": record["image"],
            "image": {"bytes": (file.parent / record["image"]).read_bytes(), "path": record["image"]},
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is there?"},
                {"from": "gpt", "value": record["captions"][0]},
            ],
        }
        for record in json.loads(file.read_text())
    ]
    alone = [{"from": "human", "value": "Two and two?"}, {"from": "gpt", "value": "four"}]
    (folder / "chat").mkdir()
    rows.append({"id": "alone", "image": None, "conversations": alone})
    pq.write_table(pa.Table.from_pylist(rows), folder / "chat/0.parquet", row_group_size=3)
    return folder / "chat"


def module(name: str) -> str:
    return next(module for module, prefix in MODULES.items() if name.startswith(prefix))


def test_each_stage_goes_on_from_the_one_before(tmp_path):
    widths = {"vision": (32, 64, 3, 2), "text": (48, 96, 2, 2), "tile": 64, "patch": 8}
    base = start_model(ModelStart(random=RandomModel(**widths)), seed=0, texts=())
    base.save_pretrained(tmp_path / "base/model")
    talks, regions, start = chat(tmp_path), squares(tmp_path / "regions", 6), tmp_path / "base"
    for stage in STAGES:
        sources = [f"{{path: {talks}, kind: chat}}"]
        if stage == "region":
            sources.insert(0, f"{{path: {regions}}}")
        changes = [
            f"model.start={start / 'model'}",
            f"output={tmp_path / stage}",
            f"data.sources=[{', '.join(sources)}]",
        ]
        changes += ["device=cpu", "batch=4", "data.workers=0", "optimizer.warmup=0", "epochs=null", "max_steps=1"]
        settings = load_job(REPOSITORY / f"jobs/train/{stage}.yaml", changes)
        assert train(settings) == 0
        before, after = weights(start), weights(tmp_path / stage)
        moved = {module(name) for name, value in before.items() if not torch.equal(value, after[name])}
        moved |= {module(name) for name in after.keys() - before.keys()}
        assert moved == LEARN.get(stage, {"connector", "decoder"})
        start = tmp_path / stage
