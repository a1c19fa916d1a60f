"""The committed jobs: complete files that differ from the reference where their heads say, and nowhere else."""

import re

import pytest

from pdlm_cli.ablations.plan import plan_runs
from pdlm_cli.ablations.variants import BASE, GROUPS, REFERENCE, SHARED, TOWER, VARIANTS
from pdlm_cli.errors import ConfigError
from pdlm_cli.training.job import TrainJob, load_job
from pdlm_cli.training.start import _region_config
from tests.ablations.support import JOBS
from tests.repo.command_lines import check_pdlm_arguments

NAMES = [variant.name for variant in VARIANTS]


def flat(value: object, inside: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        parts = [flat(item, f"{inside}.{key}" if inside else key) for key, item in value.items()]
        return {name: item for part in parts for name, item in part.items()}
    return {inside: value}


def fields(job: TrainJob) -> dict[str, object]:
    return flat(job.to_dict())


def test_there_is_a_job_for_every_variant_and_no_other():
    assert sorted(path.stem for path in JOBS.glob("*")) == sorted([*SHARED, *NAMES])


@pytest.mark.parametrize("name", [*SHARED, *NAMES])
def test_jobs_are_headed_by_their_command(name):
    first = (JOBS / f"{name}.yaml").read_text().splitlines()[0]
    assert first == f"# pdlm train jobs/train/ablations/{name}.yaml"
    check_pdlm_arguments(first.removeprefix("# pdlm ").split())


@pytest.mark.parametrize("name", [name for name in NAMES if name != REFERENCE])
def test_jobs_differ_from_the_reference_where_they_say(name):
    reference, own = fields(load_job(JOBS / f"{REFERENCE}.yaml")), fields(load_job(JOBS / f"{name}.yaml"))
    text = (JOBS / f"{name}.yaml").read_text()
    said = re.search(r"^# Differs from reference\.yaml in (.+)\.$", text, re.MULTILINE).group(1).split(", ")
    assert own.pop("output") == reference.pop("output").replace(REFERENCE, name)
    assert sorted(key for key in reference if own[key] != reference[key]) == sorted(said)


def test_variants_start_from_the_base_and_say_what_the_model_lacks():
    tower, base = (load_job(JOBS / f"{name}.yaml") for name in (TOWER, BASE))
    assert tower.model.random is not None and tower.model.regions.footprint == "none"  # nothing of prompts is known
    assert base.model.start == f"{tower.output}/model" and base.model.image_level
    regions = {}
    for name in NAMES:
        job = load_job(JOBS / f"{name}.yaml")
        assert job.model.start == f"{base.output}/model"
        regions[name] = _region_config(job.model.regions)
    assert regions["no-prompts"].footprint == "none"
    assert regions["no-roi"].roi_features == "none"
    assert regions["same-prompt"].binding == "shared"
    assert regions["full-attention"].attention == "full"
    assert regions["released"].attention == regions["structured-attention"].attention == "released"


def test_everything_compared_is_looked_at_and_of_the_same_pictures():
    looks = {(variant.name, name): look for variant in VARIANTS for name, look in variant.looks.items()}
    for comparison in [comparison for group in GROUPS for comparison in group.comparisons]:
        changed, against = looks[comparison.changed], looks[comparison.against]
        assert (changed.shapes, changed.share) == (against.shapes, against.share)


def test_seeds_and_folders_are_those_of_the_run(tmp_path):
    runs = plan_runs(JOBS, tmp_path, range(2), only=["no-roi"], max_steps=3)
    assert [(run.name, run.seed) for run in runs] == [
        (name, seed) for seed in range(2) for name in ("tower", "base", "no-roi")
    ]
    for run in runs:
        assert (run.job.seed, run.job.max_steps) == (run.seed, 3)
        assert run.job.output == str(tmp_path / f"seed-{run.seed}" / run.name)
    assert runs[4].job.model.start == str(runs[3].model)
    assert runs[5].job.model.start == str(runs[4].model)
    with pytest.raises(ConfigError, match="no-rio: expected one of reference"):
        plan_runs(JOBS, tmp_path, range(1), only=["no-rio"])
