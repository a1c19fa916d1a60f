"""`pdlm show` of a run of `pdlm train`."""

import json

import pytest
from click.testing import CliRunner
from PIL import Image

from pdlm_cli.logs import RunLog
from pdlm_cli.main import main
from pdlm_cli.training.curves import draw_curves
from tests.training.support import job, losses, squares, train


def step(number, loss):
    return {"event": "step", "step": number, "loss": loss, "learning_rate": 1e-3}


def write_log(folder, events):
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def curves(folder):
    return {line.get_label(): line.get_xydata().tolist() for line in draw_curves(folder).axes[0].lines}


def test_what_was_done_twice_counts_once(tmp_path):
    again = {"event": "evaluation", "step": 2, "eval_loss": 3.0, "epoch": 1.0}
    events = [{"message": "starting"}, step(1, 4.0), step(2, 9.0), step(3, 8.0), step(2, 3.5), again, step(3, 3.0)]
    found = curves(write_log(tmp_path, events))
    assert found == {"training": [[1, 4.0], [2, 3.5], [3, 3.0]], "held out": [[2, 3.0]]}


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path):
    folder = write_log(tmp_path, [step(1, 4.0)])
    with (folder / "log.jsonl").open("ab") as log:
        log.write('{"event": "step", "message": "ü'.encode()[:-1])
    RunLog(folder / "log.jsonl").close()  # which ends it, so that its own lines are whole
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(step(2, 3.0)) + "\n")
    assert curves(folder) == {"training": [[1, 4.0], [2, 3.0]]}


def test_a_run_is_drawn(tmp_path):
    source = {"path": str(squares(tmp_path / "data", 4))}
    data = {"sources": [source], "held_out": [source], "caption_length": 6, "workers": 0}
    report = {"log": 1, "eval": 2, "save": 9, "samples": 1, "steps": 2, "to": []}
    out = tmp_path / "run"
    assert train(job(tmp_path, out, data=data, max_steps=4, report=report)) == 0
    assert [loss for _, loss in curves(out)["training"]] == list(losses(out).values())
    assert [step for step, _ in curves(out)["held out"]] == [2, 4]
    for arguments, target in (
        ((), out / "curves.png"),
        (("--output", tmp_path / "curves.svg"), tmp_path / "curves.svg"),
    ):
        result = CliRunner().invoke(main, ["show", str(out), *map(str, arguments)])
        assert result.exit_code == 0, result.stderr
        assert str(target) in result.stderr and target.stat().st_size > 5000
    with Image.open(out / "curves.png") as picture:
        assert picture.width == 700


@pytest.mark.parametrize(
    ("log", "masks", "said"),
    [([{"message": "starting"}], (), "no step is logged yet"), ([step(1, 1.0)], ("a.png",), "leave MASKS out")],
)
def test_what_cannot_be_drawn_is_said(tmp_path, log, masks, said):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    folder = write_log(tmp_path / "run", log)
    result = CliRunner().invoke(main, ["show", str(folder), *(str(tmp_path / name) for name in masks)])
    assert result.exit_code in (2, 4) and said in result.stderr
