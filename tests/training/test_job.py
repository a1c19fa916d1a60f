"""The job file: what is read, what is refused, and that the committed jobs are whole."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from pdlm_cli.commands.train import train
from pdlm_cli.errors import ConfigError
from pdlm_cli.training.job import MODULES, TrainJob, changed, load_job
from pdlm_cli.training.typed_fields import read_settings
from tests.cli.support import REPOSITORY
from tests.training.support import job, job_values

JOBS = sorted((REPOSITORY / "jobs/train").rglob("*.yaml"))
VALUES = job_values(Path("squares.json"), Path("out"))


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.stem)
def test_committed_jobs_are_valid_and_headed_by_their_command(file):
    settings = load_job(file)
    assert file.read_text().splitlines()[0].endswith(f" train {file.relative_to(REPOSITORY)}")
    assert settings.output.startswith("out/") and Path(settings.output).name == file.stem
    start = settings.model.start  # made here or by another job; never to be taken for an id on the hub
    assert start is None or (start.startswith("out/") and start.count("/") > 1) or (REPOSITORY / start).is_dir()
    assert read_settings(TrainJob, settings.to_dict()) == settings


@pytest.mark.parametrize(
    ("stage", "lr", "batch", "tokens", "frozen"),
    [
        ("stage1-align", 1e-3, 512, 2048, ("vision", "decoder")),
        ("stage2-mid", 4e-5, 512, 4096, ("vision",)),
        ("stage3-instruct", 4e-5, 512, 4096, ("vision",)),
        ("stage4-refine", 4e-5, 512, 4096, ("vision",)),
        ("region", 4e-5, 256, 4096, ("vision",)),
    ],
)
def test_committed_stages_have_the_papers_values(stage, lr, batch, tokens, frozen):
    settings = load_job(REPOSITORY / f"jobs/train/{stage}.yaml")
    assert settings.optimizer.lr == lr
    assert settings.optimizer.warmup == 0.03
    assert settings.optimizer.freeze == frozen
    assert (settings.batch, settings.data.max_tokens, settings.precision) == (batch, tokens, "bf16")
    assert settings.epochs == 1
    regions = settings.model.regions
    assert (regions is not None) == (stage == "region")
    assert regions is None or (regions.max_regions, regions.roi_size, regions.semantics) == (6, 4, "isolated")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer.rate=1", r"unknown field optimizer\.rate; expected one of lr"),
        ("steps=3", "unknown field steps"),
        ("optimizer.lr=fast", r"optimizer\.lr: expected a number, found 'fast'"),
        ("optimizer.lr=true", r"optimizer\.lr: expected a number, found True"),
        ("optimizer.lr=0", r"optimizer\.lr: expected more than 0, found 0"),
        ("optimizer.lr=.nan", r"optimizer\.lr: expected a finite number, found nan"),
        ("data.sources.0.weight=inf", r"data\.sources\.0\.weight: expected a finite number, found inf"),
        ("optimizer.betas=[0.9, 1.0]", r"optimizer\.betas: expected numbers from 0 to below 1, found 1\.0"),
        ("model.random.vision=[-32, 64, 3, 2]", r"model\.random\.vision: expected at least 1, found -32"),
        ("model.random.patch=0", r"model\.random\.patch: expected at least 1, found 0"),
        ("model.regions.roi_size=0", r"model\.regions\.roi_size: expected at least 1, found 0"),
        (
            "optimizer.freeze=[eyes]",
            r"optimizer\.freeze: expected modules among vision, connector, decoder, regions, found 'eyes'",
        ),
        ("optimizer.module_lr={eyes: 1}", r"optimizer\.module_lr: expected modules among .*, found 'eyes'"),
        ("optimizer.betas=[0.9]", r"optimizer\.betas: expected 2 values, found 1"),
        ("batch=3", "batch: expected a multiple of micro_batch 2, found 3"),
        ("batch=2.5", r"batch: expected a whole number, found 2\.5"),
        ("precision=fp8", "precision: expected one of fp32, bf16, found 'fp8'"),
        ("data.sources=[]", r"data\.sources: expected at least one source"),
        ("data.sources=here", r"data\.sources: expected a list, found 'here'"),
        ("data.sources.0.weight=-1", r"data\.sources\.0\.weight: expected more than 0"),
        ("data.sources.0.scenes={pictures: 3}", r"data\.sources\.0\.path: expected either this or scenes"),
        (
            "data.sources.0={scenes: {pictures: 3, level: 9}}",
            r"data\.sources\.0\.scenes\.level must be 0 to 5, found 9",
        ),
        ("data.held_out=[{scenes: {pictures: 0}}]", r"data\.held_out\.0\.scenes\.pictures: expected at least 1"),
        ("data.sources.0.kind=pictures", r"data\.sources\.0\.kind: expected one of regions, chat"),
        ("data.max_bad_share=2", r"data\.max_bad_share: expected 0 to 1, found 2"),
        ("model.start=here", r"model\.start: expected either this or random"),
        ("model.image_level=true", r"model\.image_level: expected a start that knows regions, and no regions"),
        ("noise={twins: true, replace: 0.5}", r"noise\.twins: expected replace 0"),
        ("model.tile=96", r"model\.tile: expected a start whose tiles change"),
        ("model.random.tile=null", r"model\.random\.size: expected either this, or all of"),
        ("epochs=1", "epochs: expected either this or max_steps, found both"),
        ("max_steps=null", "epochs: expected either this or max_steps, found none"),
        ("report.eval=5", r"report\.eval: expected data\.held_out"),
        (
            "data.held_out=[{scenes: {pictures: 3}}]",
            r"data\.held_out: expected scenes of split val or test, found train",
        ),
        (
            "data.sources=[{scenes: {pictures: 3, split: test}}]",
            r"data\.sources: expected scenes of split train, found test",
        ),
        ("output.deeper=1", r"output\.deeper: output has no part 'deeper'"),
        ("data.sources.3.path=x", r"data\.sources has no part '3'"),
        ("output", "expected key=value, found 'output'"),
        ("seed={", "cannot read '{' as YAML"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(VALUES))
    with pytest.raises(ConfigError, match=message):
        load_job(file, [change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.random.patch=0", "model.random.patch: expected at least 1, found 0"),
        ("model.tile=96", "model.tile: expected a start whose tiles change; a random model has random.tile"),
        ("optimizer.lr=0", "optimizer.lr: expected more than 0, found 0.0"),
        ("optimizer.module_lr={regions: 0}", "optimizer.module_lr.regions: expected more than 0, found 0.0"),
        ("lora={rank: 0}", "lora.rank: expected at least 1, found 0"),
        ("data.workers=-1", "data.workers: expected at least 0, found -1"),
        ("data.sources.0.weight=-1", "data.sources.0.weight: expected more than 0, found -1.0"),
        ("report.keep=1", "report.keep: expected at least 2, found 1"),
        ("max_steps=0", "max_steps: expected at least 1, found 0"),
    ],
)
def test_a_field_has_its_full_name_once_wherever_it_stands(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_settings(TrainJob, changed(VALUES, [change]))


def test_a_job_that_is_not_there_is_no_broken_yaml(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*job\.yaml: No such file"):
        load_job(tmp_path / "job.yaml")


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("- 1", "a list"), ("fast", "a str")])
def test_a_job_has_fields(tmp_path, text, found):
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"expected fields of a training job, .* found {found}$"):
        load_job(tmp_path / "job.yaml")


def test_changes_reach_nested_fields_and_leave_the_file_alone(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(VALUES))
    changes = [
        "optimizer.lr=4e-5",
        "data.sources.0.count=7",
        "optimizer.module_lr.regions=1e-3",
        "noise.times=stratified",
    ]
    settings = load_job(file, changes)
    assert settings.optimizer.lr == 4e-5
    assert settings.data.sources[0].count == 7
    assert settings.optimizer.module_lr == {"regions": 1e-3}
    assert settings.noise.times == "stratified"
    assert changed(VALUES, changes) != VALUES


def test_a_field_that_is_there_twice_is_an_error(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(VALUES) + "max_steps: 9\n")
    with pytest.raises(ConfigError, match=r"max_steps is there twice\n.*line \d+"):
        load_job(file)


@pytest.mark.parametrize("text", ["- 1", "{", ""])
def test_a_file_that_is_no_job_is_refused(tmp_path, text):
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"job\.yaml"):
        load_job(file)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_job(tmp_path / "none.yaml")


def test_missing_fields_are_all_named():
    with pytest.raises(ValueError, match="missing field data, optimizer"):
        read_settings(TrainJob, {name: VALUES[name] for name in VALUES if name not in ("data", "optimizer")})


def test_a_batch_comes_out_even_over_processes():
    settings = job(Path("x.json"), Path("out"), batch=8, micro_batch=2)
    assert [settings.accumulation(processes) for processes in (1, 2, 4)] == [4, 2, 1]
    with pytest.raises(ValueError, match="2 x 3"):
        settings.accumulation(3)


def test_modules_are_those_of_the_model():
    from model.sizes import random_model

    names = [name for name, _ in random_model("tiny").named_parameters()]
    assert all(sum(name.startswith(prefix) for prefix in MODULES.values()) == 1 for name in names)
    assert all(any(name.startswith(prefix) for name in names) for prefix in MODULES.values())


EXAMPLES = [line for line in (train.help or "").split("Examples:")[1].splitlines() if line.strip()]


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_of_the_help_name_jobs_and_fields_that_exist(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    program, name, *arguments = shlex.split(line)
    assert (program, name) == ("pdlm", "train")
    context = train.make_context("train", arguments)
    start = load_job(context.params["job"], context.params["changes"]).model.start
    assert start is None or Path(start).exists()  # in a fresh clone


def test_commands_of_the_readme_start_from_what_the_repository_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    jobs = re.findall(r"^    pdlm train (\S+)", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert len(jobs) == 3
    for name in jobs:
        start = load_job(Path(name)).model.start
        assert start is None or Path(start).exists(), name
