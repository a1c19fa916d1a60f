"""Cases measured in turn, so that what else the machine does in the meantime meets all of them alike."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

from pdlm_cli.bench.contenders import Contender, Outcome
from pdlm_cli.bench.machine import Rates
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.roofline import Phase, least_seconds, total
from pdlm_cli.bench.usage import Meter, Usage, merged
from pdlm_cli.bench.workload import Scene
from pdlm_cli.progress import Progress


@dataclass(frozen=True)
class Case:
    """One point to be measured: `run` does all of its work once. regions, tokens, note: as in `Point`. phases: its
    work, given the steps it took."""

    contender: str
    axis: str
    value: float
    regions: int
    tokens: int
    run: Callable[[], Outcome]
    phases: Callable[[float], list[Phase]] | None = None
    images: int = 1
    note: str = ""


def case_of(contender: Contender, scene: Scene, length: int, axis: str, value: float, name: str | None = None) -> Case:
    regions = len(scene.masks)
    return Case(
        contender=name or contender.name,
        axis=axis,
        value=value,
        regions=regions,
        tokens=regions * length,
        run=lambda: contender.caption(scene),
        phases=lambda steps: contender.phases(scene, steps),
    )


def measure(
    bench: str,
    cases: Sequence[Case],
    *,
    repeats: int,
    warmup: int,
    meter: Meter,
    rates: Rates | None,
    progress: Progress,
) -> list[Point]:
    """Every case `repeats` times, one after the other and then all once more, back and forth: what a case leaves behind
    in caches and in memory does not always meet the same one. Warm-up first, which counts for nothing.

    progress: is told of runs.
    """
    seen: list[list[tuple[Outcome, Usage]]] = [[] for _ in cases]
    for case in cases:
        for _ in range(warmup):
            case.run()
            progress.advance(1)
    turn = list(zip(cases, seen, strict=True))
    for repeat in range(repeats):
        for case, runs in turn if repeat % 2 == 0 else reversed(turn):
            with meter.stretch() as usage:
                outcome = case.run()
            runs.append((outcome, usage))
            progress.advance(1)
    return [_point(bench, case, runs, rates) for case, runs in zip(cases, seen, strict=True)]


def _point(bench: str, case: Case, runs: Sequence[tuple[Outcome, Usage]], rates: Rates | None) -> Point:
    outcomes, usages = [outcome for outcome, _ in runs], [usage for _, usage in runs]
    steps = fmean(outcome.steps for outcome in outcomes)
    whole = all(outcome.measured == 1 for outcome in outcomes)
    used = merged(usages) if whole else Usage()
    point = Point(
        bench=bench,
        contender=case.contender,
        axis=case.axis,
        value=case.value,
        seconds=tuple(outcome.seconds for outcome in outcomes),
        encode_seconds=fmean(outcome.encode_seconds for outcome in outcomes),
        images=case.images,
        regions=case.regions,
        tokens=case.tokens,
        steps=steps,
        measured=outcomes[0].measured,
        note=case.note or _part_note(outcomes[0].measured),
        **asdict(used),
    )
    if case.phases is None:
        return point
    phases = case.phases(steps)
    flop, moved = total(phases)
    point = replace(point, flop=flop, moved_bytes=moved)
    if rates is None:
        return point
    return replace(
        point,
        of_matrix_rate=flop / point.median / rates.flop_per_second,
        of_bandwidth=moved / point.median / rates.bytes_per_second,
        of_roofline=least_seconds(phases, rates) / point.median,
    )


def _part_note(measured: float) -> str:
    if measured == 1:
        return ""
    return f"{100 * measured:.0f} % of the work was run; the rest is the same work again, and was counted"
