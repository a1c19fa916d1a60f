"""`pdlm eval tradeoff`: the same scenes decoded in many ways, what each scores and how many steps it takes."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.table import Column, Table

from model.settings import DecodeSettings
from pdlm_cli import logs
from pdlm_cli.engine import ModelEngine, load_engine
from pdlm_cli.evaluation.breakdown import Breakdown
from pdlm_cli.evaluation.folder import EvaluationDir
from pdlm_cli.evaluation.job import SceneEvalJob
from pdlm_cli.evaluation.scenes import SceneSet, evaluate
from pdlm_cli.logs import log
from pdlm_cli.plotting import require_matplotlib
from pdlm_cli.progress import open_progress
from pdlm_cli.report import Report
from pdlm_cli.signals import StopSignals

Curve = tuple[str, str, str]  # sampler, the setting of it that varies, cache
# The values that are tried; the first of all is what the others are compared with.
WAYS: Mapping[Curve, Sequence[float]] = {
    ("remask", "steps", "auto"): (32, 16, 8, 4, 2),
    ("topk", "steps", "auto"): (32, 16, 8, 4, 2),
    ("threshold", "threshold", "auto"): (0.99, 0.95, 0.9, 0.8, 0.6, 0.4),
    ("factor", "factor", "auto"): (0.1, 0.25, 0.5, 1.0, 2.0),
    ("entropy", "entropy", "auto"): (0.02, 0.1, 0.3, 1.0, 3.0),
    ("topk", "steps", "delayed"): (32, 16, 8, 4, 2),
    ("factor", "factor", "delayed"): (0.1, 0.25, 0.5, 1.0, 2.0),
    ("topk", "stable", "auto"): (4, 3, 2, 1),
}
NOISE = 0.5  # points of Avg; what is within them of the first way loses nothing that this number of scenes could show


@dataclass(frozen=True)
class Found:
    """One way of decoding. avg to recognised: 0 to 1. steps, tokens_per_forward: mean a caption. seconds: in the model,
    all passes."""

    sampler: str
    setting: str
    cache: str
    value: float
    avg: float
    pos: float
    neg: float
    recognised: float
    shared: int
    steps: float
    tokens_per_forward: float
    seconds: float


def run(job: SceneEvalJob[DecodeSettings], log_format: str, stop: StopSignals) -> int:
    """Do it for each of WAYS; 0, or 128 + the signal that stopped it."""
    require_matplotlib()
    console, form = logs.configure(log_format)
    with EvaluationDir(job.output, overwrite=job.overwrite) as out:
        log.info("loading the model")
        engine = load_engine(job.model, job.device, job.dtype, job.decode, quantize=job.quantize)
        scenes = job.scenes(engine.tile_size)
        stop.defer()
        ways = [(curve, value) for curve in _possible(engine) for value in WAYS[curve]]
        found: list[Found] = []
        with open_progress(len(ways) * scenes.pictures, form, console, doing="decoding", unit="pictures") as progress:
            for curve, value in ways:
                one = _decode(curve, value, engine, scenes, job, progress, lambda: stop.received is not None)
                if one is None:
                    assert stop.received is not None
                    log.error("stopped after %d of %d ways; nothing was written", len(found), len(ways))
                    return 128 + stop.received
                found.append(one)
        facts = {"settings": {"scenes": asdict(scenes)}, "engine": dict(engine.facts)}
        results = [asdict(one) for one in found]
        out.write(
            {
                "tradeoff.md": markdown(found).encode(),
                "tradeoff.png": plot(found),
                "scores.json": json.dumps({**facts, "noise": NOISE, "ways": results}, indent=2).encode(),
            }
        )
    if form != "json":
        console.print(table(found))
    log.info("the curve is %s", job.output / "tradeoff.png")
    return 0


def _possible(engine: ModelEngine) -> list[Curve]:
    """Those of WAYS that the checkpoint can be decoded in; says which are left out."""
    found = []
    for curve in WAYS:
        sampler, _, cache = curve
        try:
            replace(engine.settings, sampler=sampler, cache=cache).check(engine.model.config)
        except ValueError as error:
            log.info("left out: %s%s: %s", sampler, _kept(cache), error)
        else:
            found.append(curve)
    return found


def _decode(
    curve: Curve,
    value: float,
    engine: ModelEngine,
    scenes: SceneSet,
    job: SceneEvalJob[DecodeSettings],
    progress: Any,
    stopped: Callable[[], bool],
) -> Found | None:
    sampler, setting, cache = curve
    changed: dict[str, Any] = {"sampler": sampler, "cache": cache, setting: value}
    decode = replace(engine.settings, **changed)
    report = Report(max_error_rate=0.0)
    pictures = evaluate(
        scenes,
        replace(engine, settings=decode),
        batch_size=job.batch_size,
        workers=job.workers,
        report=report,
        progress=progress,
        stopped=stopped,
    )
    regions = [region for judged in pictures for region in judged]
    if stopped():
        return None
    scored = Breakdown.of(regions)
    assert scored.whole.avg is not None and scored.whole.pos is not None and scored.whole.neg is not None
    return Found(
        sampler=sampler,
        setting=setting,
        cache=cache,
        value=value,
        avg=scored.whole.avg,
        pos=scored.whole.pos,
        neg=scored.whole.neg,
        recognised=scored.whole.recognised or 0.0,
        shared=scored.shared,
        steps=report.denoise_steps / report.made,
        tokens_per_forward=report.tokens / report.denoise_steps,
        seconds=round(sum(report.milliseconds.values()) / 1000, 3),
    )


def loses(one: Found, first: Found) -> float:
    """Points of Avg below the first way, negative above it."""
    return 100 * (first.avg - one.avg)


HEADS = ("decoding", "Avg", "Pos", "Neg", "kind", "shared", "steps", "tokens a step", "time")


def rows(found: Sequence[Found]) -> list[tuple[str, ...]]:
    """Cells under HEADS; time as a share of the first way's."""
    first = found[0]
    return [
        (
            f"{one.sampler}, {one.setting} {one.value}{_kept(one.cache)}",
            *(f"{100 * score:.2f}" for score in (one.avg, one.pos, one.neg, one.recognised)),
            str(one.shared),
            f"{one.steps:.1f}",
            f"{one.tokens_per_forward:.2f}",
            f"{one.seconds / first.seconds:.2f}",
        )
        for one in found
    ]


def _kept(cache: str) -> str:
    return "" if cache == "auto" else f", {cache}"


def table(found: Sequence[Found]) -> Table:
    shown = Table(Column(HEADS[0], no_wrap=True), *HEADS[1:], title="Quality over steps")
    for cells, one in zip(rows(found), found, strict=True):
        shown.add_row(*cells, style=None if loses(one, found[0]) <= NOISE else "dim")
    return shown


def markdown(found: Sequence[Found]) -> str:
    lines = [HEADS, ("---",) * len(HEADS), *rows(found)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def plot(found: Sequence[Found]) -> bytes:
    """PNG: Avg over mean steps a caption, a line for each way of decoding."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), dpi=110, layout="constrained")
    for curve in WAYS:
        sampler, setting, cache = curve
        own = sorted(
            (one for one in found if (one.sampler, one.setting, one.cache) == curve), key=lambda one: one.steps
        )
        name = (sampler if setting in (sampler, "steps") else f"{sampler}, {setting}") + _kept(cache)
        axes.plot([one.steps for one in own], [100 * one.avg for one in own], marker="o", markersize=4, label=name)
    level = 100 * found[0].avg
    axes.axhspan(level - NOISE, level + NOISE, color="gray", alpha=0.15, linewidth=0)
    axes.set(xscale="log", xlabel="denoising steps a caption, mean", ylabel="Avg on drawn scenes, %")
    axes.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    pyplot.close(figure)
    return sink.getvalue()
