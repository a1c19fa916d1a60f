"""run.json: what was run, with what, and whether another run would be the same."""

import hashlib
import json
import platform
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pdlm_cli import __version__
from pdlm_cli.errors import ConfigError
from pdlm_cli.manifest import Manifest
from pdlm_cli.parquet import SCHEMA_VERSION
from pdlm_cli.stores import is_address

if TYPE_CHECKING:
    from pdlm_cli.caption_job import CaptionJob


def run_facts(job: "CaptionJob", manifest: Manifest, engine: Mapping[str, str], model_sha256: str) -> dict[str, Any]:
    """run.json of a new run. engine, model_sha256: see Engine.

    config and plan are what a row depends on beside model and input: with another value of any of them, the rows would
    be others. What else the job says may change when the run goes on.
    """
    config = {
        **asdict(job.decode),
        "seed": job.seed,
        "dtype": engine["dtype"],
        "quantize": job.quantize,
        "exif": job.exif,
        "max_pixels": job.max_pixels,
        "min_area": job.min_area,
        "skip_crowd": job.skip_crowd,
    }
    plan = plan_of(job, manifest)
    return {
        "run_id": uuid.uuid4().hex,
        "schema_version": SCHEMA_VERSION,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "attempt": 1,
        "job": {key: _plain(value) for key, value in asdict(job).items()},
        "config": config,
        "plan": plan,
        "input": {"format": manifest.format, "images": manifest.images, "regions": manifest.regions},
        "engine": dict(engine),
        "versions": {"pdlm": __version__, "python": platform.python_version(), "pyarrow": pa.__version__},
        "hashes": {
            "config": sha256(config),
            "model": model_sha256,
            "input": manifest.sha256,
            "plan": plan_sha256(manifest, plan),
        },
    }


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def plan_of(job: "CaptionJob", manifest: Manifest) -> dict[str, Any]:
    """What decides, beside the input, which image is in which part. since: a hash of the images that are left out."""
    shard = None if job.shard is None else f"{job.shard[0]}/{job.shard[1]}"
    return {
        "limit": job.limit,
        "shard": shard,
        "part_rows": job.part_rows,
        "max_regions": job.max_regions,
        "since": manifest.left_out if job.since else None,
    }


def plan_sha256(manifest: Manifest, plan: Mapping[str, Any]) -> str:
    return sha256({"input": manifest.sha256, **plan})


def planned(manifest: Manifest, plan: Mapping[str, Any]) -> Manifest:
    """The images of the input that a run with this plan captions."""
    if plan["limit"] is not None:
        manifest = manifest.limited(plan["limit"])
    if plan["shard"] is not None:
        index, count = plan["shard"].split("/")
        manifest = manifest.sharded(int(index), int(count))
    return manifest


def table_metadata(facts: Mapping[str, Any]) -> dict[str, str]:
    """What each part says of its run, in the metadata of its schema."""
    return {
        "pdlm.run_id": facts["run_id"],
        "pdlm.config_sha256": facts["hashes"]["config"],
        "pdlm.model_sha256": facts["hashes"]["model"],
        "pdlm.model": facts["engine"]["model"],
    }


def continued(earlier: Mapping[str, Any], now: Mapping[str, Any], *, attempt: int) -> dict[str, Any]:
    """run.json of `earlier` as it goes on: the same run, with the job and the versions of now."""
    return {**now, "run_id": earlier["run_id"], "created_at": earlier["created_at"], "attempt": attempt}


def refuse_another(folder: Path, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ConfigError, naming every difference, unless `now` would give the rows of the run `earlier` in `folder`."""
    different = [*differences(earlier, now)]
    # Not among the differences: each shard has them where its machine has them, as it has the pictures.
    masks = earlier["job"]["masks"], now["job"]["masks"]
    if not _same_place(*masks):
        different.append(("--masks", _shown(masks[0]), _shown(masks[1])))
    found = [f"{what} was {before}, now it is {after}" for what, before, after in different]
    if found:
        raise ConfigError(
            f"{folder} holds another run: {'; '.join(found)}. Repeat its settings to go on with it, pass --overwrite "
            "to replace it, or choose another --output"
        )


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What differs of all that rows depend on between two runs: its name, and its value in each."""
    if one["schema_version"] != other["schema_version"]:
        yield "the version of the table", one["schema_version"], other["schema_version"]
    for section in ("config", "plan"):
        # Through JSON, as what was read from a file went.
        first, second = (json.loads(json.dumps(facts[section])) for facts in (one, other))
        for name in sorted(first.keys() | second.keys()):
            if first.get(name) != second.get(name):
                yield "--" + name.replace("_", "-"), _shown(first.get(name)), _shown(second.get(name))
    if one["hashes"]["model"] != other["hashes"]["model"]:
        models = [f"{facts['engine']['model']} ({facts['hashes']['model'][:12]})" for facts in (one, other)]
        yield "the model", models[0], models[1]
    if one["input"]["format"] != other["input"]["format"]:
        yield "--format", one["input"]["format"], other["input"]["format"]
    if one["hashes"]["input"] != other["hashes"]["input"]:
        inputs = [f"{facts['job']['input']} ({facts['hashes']['input'][:12]})" for facts in (one, other)]
        yield "the input", inputs[0], inputs[1]


def _same_place(one: str | None, other: str | None) -> bool:
    if one is None or other is None or is_address(one) or is_address(other):
        return one == other
    return Path(one).resolve() == Path(other).resolve()


def _shown(value: Any) -> str:
    return "not given" if value is None else str(value)


def sha256(value: Mapping[str, Any]) -> str:
    """Of settings, in whatever order they are."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
