"""Runs that are missing are made, in order; what is finished is not made again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import pdlm_cli.training.run
from model.checkpoint import read_config
from pdlm_cli.ablations import measure
from pdlm_cli.ablations.plan import minutes, plan_runs, result_path
from pdlm_cli.ablations.runner import AblationJob, missing_runs, run, trained_seconds
from pdlm_cli.ablations.variants import SHARED, Look
from pdlm_cli.errors import ConfigError
from pdlm_cli.main import main
from pdlm_cli.signals import StopSignals
from tests.ablations.support import JOBS, small_jobs

NAMES = ("no-roi", "same-prompt")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> AblationJob:
    folder = tmp_path_factory.mktemp("ablations")
    job = AblationJob(
        jobs=small_jobs(folder / "jobs", *NAMES),
        output=folder / "out",
        docs=folder / "docs",
        seeds=1,
        only=NAMES,
        max_steps=None,
        pictures=2,
        render_only=False,
    )
    with StopSignals() as stop:
        assert run(job, "plain", stop) == 0
    return job


def runs_of(job: AblationJob, **changes):
    return plan_runs(job.jobs, job.output, range(job.seeds), job.only, **changes)


def test_every_run_has_a_model_and_a_result_and_the_document_is_there(finished: AblationJob):
    for item in runs_of(finished):
        assert item.model.is_dir()
        values = json.loads(result_path(finished.output, item).read_text())
        assert values["job"] == item.job.to_dict()
        assert values["training"]["parameters"] > 1000
        assert list(values["looks"]) == ([] if item.name in SHARED else ["standard"])
    assert finished.docs is not None
    assert "| no RoI replay |" in (finished.docs / "ablations.md").read_text()
    no_roi = next(item for item in runs_of(finished) if item.name == "no-roi")
    assert read_config(no_roi.model).regions.roi_features == "none"


def test_what_is_finished_is_not_run_again(finished: AblationJob, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pdlm_cli.training.run, "run", lambda *_, **__: pytest.fail("trained again"))
    with StopSignals() as stop:
        assert run(finished, "plain", stop) == 0
    assert missing_runs(runs_of(finished), finished.output, pictures=2) == []


def test_a_model_that_is_gone_is_made_again_where_a_missing_run_starts_from_it(finished: AblationJob, tmp_path: Path):
    shutil.copytree(finished.output, tmp_path / "out")
    runs = plan_runs(finished.jobs, tmp_path / "out", range(1), NAMES)
    by_name = {item.name: item for item in runs}
    for item in runs:
        values = json.loads(result_path(tmp_path / "out", item).read_text())
        result_path(tmp_path / "out", item).write_text(json.dumps(values | {"job": item.job.to_dict()}))

    def missing() -> list[str]:
        return [item.name for item in missing_runs(runs, tmp_path / "out", pictures=2)]

    shutil.rmtree(by_name["tower"].model)
    result_path(tmp_path / "out", by_name["no-roi"]).unlink()
    assert missing() == ["no-roi"]  # which starts from the base
    shutil.rmtree(by_name["base"].model)
    assert missing() == ["tower", "base", "no-roi"]


def test_other_looks_need_no_other_training(finished: AblationJob):
    missing = missing_runs(runs_of(finished), finished.output, pictures=3)
    assert [item.name for item in missing] == list(NAMES)


def test_a_result_of_another_job_is_refused(finished: AblationJob):
    with pytest.raises(ConfigError, match="is of another job than tower is now; remove it"):
        missing_runs(runs_of(finished, max_steps=7), finished.output, pictures=2)


def test_fields_that_training_has_got_since_do_not_matter(finished: AblationJob, tmp_path: Path):
    item = runs_of(finished)[2]
    values = json.loads(result_path(finished.output, item).read_text())
    del values["job"]["precision"], values["job"]["data"]["workers"]
    copy = result_path(tmp_path, item)
    copy.parent.mkdir()
    copy.write_text(json.dumps(values))
    assert missing_runs([item], tmp_path, pictures=2) == []


def test_a_signal_ends_it_before_the_next_run(tmp_path: Path, finished: AblationJob):
    with StopSignals() as stop:
        stop.received = 15
        assert run(replace(finished, output=tmp_path), "plain", stop) == 143
    assert not (tmp_path / "results").exists()


def test_a_signal_ends_a_look_without_a_result(finished: AblationJob):
    item = runs_of(finished)[2]
    with StopSignals() as stop:
        from pdlm_cli.ablations.runner import _look

        stop.received = 2
        assert _look(item, finished, 1.0, "plain", stop) is None


def test_looks_change_how_a_checkpoint_captions_and_not_what_it_is(finished: AblationJob):
    item = runs_of(finished)[2]
    engine = measure._engine(item.model, Look(steps=3, length=5, together=2, binding="shared"))
    assert engine.max_regions == 2
    assert (engine.settings.steps, engine.settings.length) == (3, 5)
    assert engine.model.config.regions.binding == "shared"
    assert read_config(item.model).regions.binding == "isolated"


def test_time_of_training_is_that_of_its_stretches(tmp_path: Path):
    """Two stretches of ten and of five seconds, the first one killed after its last step."""
    lines = [
        ("00:00:00", "starting from random weights", {}),
        ("00:00:10", "step 10 of 15: loss 1", {"step": 10}),
        ("00:05:00", "starting from checkpoint-10", {}),
        ("00:05:05", "step 15 of 15: loss 1", {"step": 15}),
        ("00:09:00", "model is trained already", {}),
    ]
    log = tmp_path / "log.jsonl"
    log.write_text(
        "".join(
            json.dumps({"time": f"2020-01-01T{time}.000+00:00", "message": message} | facts) + "\n"
            for time, message, facts in lines
        )
    )
    assert trained_seconds(log) == pytest.approx(15)


def test_the_whole_table_takes_at_most_three_hours():
    runs = plan_runs(JOBS, Path("out"), range(1))
    assert 60 < minutes(runs, 300) < 165
    assert minutes(runs, 300, samples_a_second=1e9) < 0.01
    assert minutes(plan_runs(JOBS, Path("out"), range(2)), 300) == pytest.approx(2 * minutes(runs, 300))


def test_command_line(finished: AblationJob):
    arguments = ["ablations", str(finished.jobs), "--output", str(finished.output), "--only", "no-roi"]
    result = CliRunner().invoke(main, [*arguments, "--pictures", "2", "--log-format", "plain"])
    assert result.exit_code == 0, result.output
    assert (finished.output / "ablations.md").exists()
    result = CliRunner().invoke(main, ["ablations", str(finished.jobs), "--only", "nothing"])
    assert result.exit_code == 2
