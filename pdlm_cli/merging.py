"""`pdlm merge`: the directories of all shards of a run to one directory, as if it had not been sharded."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from pdlm_cli import logs
from pdlm_cli.errors import ConfigError, InputError
from pdlm_cli.finished import FinishedRun, input_of, take_rows
from pdlm_cli.logs import log
from pdlm_cli.manifest import Manifest, shard_of
from pdlm_cli.moved import Moved
from pdlm_cli.passes import plan_parts
from pdlm_cli.progress import watched
from pdlm_cli.report import Report
from pdlm_cli.run_dir import RunDir
from pdlm_cli.run_facts import differences, plan_sha256, table_metadata


def run(
    shards: Sequence[Path], output: Path, moved: Moved, *, overwrite: bool, verify: bool, log_format: str
) -> Report:
    """Merge shards into `output`.

    moved: where the input of the shards lies now. verify: read what was written again and compare it with the shards.
    Raises ConfigError if they are not all shards of one run, or not finished, InputError, OutputError, LockedError.
    """
    console, form = logs.configure(log_format)
    runs = one_of_each([FinishedRun(path) for path in shards])
    manifest, _ = input_of(runs, moved)
    facts = merged_facts(runs, manifest, moved, output)
    if output.resolve() in {shard.path.resolve() for shard in runs}:
        raise ConfigError(f"{output} is one of the shards; choose another --output")
    with RunDir(output, overwrite=overwrite) as out:
        if out.earlier is not None and out.earlier.get("merged_from") != facts["merged_from"]:
            raise ConfigError(f"{output} holds another run; pass --overwrite to replace it, or choose another --output")
        out.start(facts)
        with logs.also_to(out.log_path):
            report = _merge(runs, manifest, facts, out, verify=verify)
    if form != "json":
        console.print(report.render())
    return report


def _merge(
    runs: Sequence[FinishedRun], manifest: Manifest, facts: Mapping[str, Any], out: RunDir, *, verify: bool
) -> Report:
    """runs: in the order of their shards. facts: run.json of the merged run."""
    about = {"facts": {"event": "start", **facts}}
    log.info("merging %d regions from %d shards", manifest.regions, len(runs), extra=about)
    incremental = manifest.images_left_out > 0
    report = Report(max_error_rate=facts["job"]["max_error_rate"], timed=False, incremental=incremental)
    rows = [shard.rows() for shard in runs]
    with manifest.watched("merging") as entries:
        for part, images in groupby(plan_parts(entries, facts["plan"]["part_rows"]), key=lambda item: item[0]):
            merged = []
            for _, entry in images:
                shard = shard_of(entry.image_id, len(runs))
                taken = take_rows(rows[shard], entry, runs[shard].path)
                report.merged(taken)
                merged += taken
            out.commit(part, merged, table_metadata(facts), complete=True)
    if not manifest.images:
        out.commit(0, [], table_metadata(facts), complete=True)
    if verify:
        _compare(FinishedRun(out.path), runs)
        log.info("%s holds every row of the %d shards, unchanged", out.path, len(runs))
    report.table(out.markers.values())
    out.finish(report.summary(), success=report.exit_code == 0)
    facts_of_end = {"facts": {"event": "end", **report.summary()}}
    log.info("%s, of %d shards, in %s", report.counted(), len(runs), out.path, extra=facts_of_end)
    return report


def one_of_each(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs in the order of their shards. Raises ConfigError unless they are all shards of one run, each once."""
    first = runs[0]
    for other in runs:
        if other.facts["plan"]["shard"] is None:
            raise ConfigError(f"{other.path} is no shard: it was made without --shard")
        different = [
            f"{what} is {one} in {first.path} and {two} in {other.path}"
            for what, one, two in differences(_unsharded(first.facts), _unsharded(other.facts))
        ]
        if different:
            raise ConfigError(f"the shards are not of one run: {'; '.join(different)}")
    numbers = [run.facts["plan"]["shard"].split("/") for run in runs]
    counts = {int(count) for _, count in numbers}
    if len(counts) > 1:
        raise ConfigError(f"the shards are not of one run: some are of {', others of '.join(map(str, sorted(counts)))}")
    (count,) = counts
    by_index: dict[int, FinishedRun] = {}
    for (index, _), shard in zip(numbers, runs, strict=True):
        earlier = by_index.setdefault(int(index), shard)
        if earlier is not shard:
            raise ConfigError(f"shard {index}/{count} is given twice, as {earlier.path} and as {shard.path}")
    missing = [f"{index}/{count}" for index in range(count) if index not in by_index]
    if missing:
        raise ConfigError(f"shards are missing: {', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}")
    return [by_index[index] for index in range(count)]


def merged_facts(runs: Sequence[FinishedRun], manifest: Manifest, moved: Moved, output: Path) -> dict[str, Any]:
    """run.json of the merged run. moved: where its input lies now. merged_from: run ids of the shards, in order."""
    first = _unsharded(runs[0].facts)
    return {
        **first,
        "run_id": uuid.uuid4().hex,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "attempt": max(run.facts["attempt"] for run in runs),
        "merged_from": [run.facts["run_id"] for run in runs],
        "job": {**moved.applied_to(first["job"]), "shard": None, "output": str(output)},
        "input": {"format": manifest.format, "images": manifest.images, "regions": manifest.regions},
        "hashes": {**first["hashes"], "plan": plan_sha256(manifest, first["plan"])},
    }


def _unsharded(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {**facts, "plan": {**facts["plan"], "shard": None}}


def _compare(merged: FinishedRun, shards: Sequence[FinishedRun]) -> None:
    """Raise InputError unless the merged rows are those of the shards, each once and unchanged."""
    rows: list[Iterator[Any]] = [shard.rows() for shard in shards]
    with watched(merged.rows(), merged.facts["input"]["regions"], doing="comparing", unit="rows") as written:
        for row in written:
            if row != next(rows[shard_of(row.image_id, len(rows))], None):
                raise InputError(
                    f"region {row.region_id} of image {row.image_id} in {merged.path} is not that of its shard"
                )
    if any(next(left, None) is not None for left in rows):
        raise InputError(f"{merged.path} lacks rows of its shards")
