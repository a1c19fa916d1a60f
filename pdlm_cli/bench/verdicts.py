"""What was measured against the targets, and what each part of the program contributes."""

from collections.abc import Sequence
from typing import Any

from pdlm_cli.bench.long_run import AXIS as LONG_RUN
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.roofline import recomputed_pass
from pdlm_cli.bench.scene_steps import SceneSteps
from pdlm_cli.bench.session import Session
from pdlm_cli.bench.targets import CPU_TARGETS, GPU_TARGETS, Verdict, ratios, verdict

AXIS = "regions a picture"  # of the runs that most targets are judged by
MOST_LOST = 0.5  # points of the scene benchmark that a faster way may cost
EVERYWHERE = ("preparation", "small checkpoint", "memory")
FEWER_STEPS = ("adaptive", "ar adaptive")
DELAYED = ("one pass delayed", "growth delayed", "ar delayed")
# From one contender to the next one thing changes: its name, and in words.
PARTS = (
    ("vocabulary", "released", "uncached", "logits at caption slots alone, confidence in fp32"),
    ("cache", "uncached", "pdlm", "prompt, picture and RoIs computed once, under isolated attention"),
    ("sampler", "pdlm", "adaptive", "as many steps as the small checkpoint needs on scenes"),
    ("all", "released", "adaptive", "all three"),
)


def judge(
    points: Sequence[Point], steps: SceneSteps, preparation_ms: Sequence[float], *, on_gpu: bool
) -> list[Verdict]:
    """Every target, in the order of the table; those of another device are left without a figure."""
    figures = _figures(points, steps, preparation_ms)
    here = "cuda" if on_gpu else "cpu"
    found = []
    costs = dict.fromkeys(FEWER_STEPS, steps.lost) | dict.fromkeys(DELAYED, steps.lost_by_delay)
    for target in (*CPU_TARGETS, *GPU_TARGETS):
        lost = costs.get(target.name, 0.0)
        if target.where != here and target.name not in EVERYWHERE:
            found.append(Verdict(target, None, None, None, ""))
        elif lost > MOST_LOST:
            note = f"the score loses {lost:.2f} points, more than {MOST_LOST}"
            found.append(Verdict(target, None, None, None, note))
        elif target.name not in figures:
            found.append(Verdict(target, None, None, None, "this system does not say what a process holds"))
        else:
            found.append(verdict(target, *figures[target.name]))
    return found


def _figures(
    points: Sequence[Point], steps: SceneSteps, preparation_ms: Sequence[float]
) -> dict[str, tuple[Sequence[float], str]]:
    """The figure of each repeat, and what is to be known of it, by target."""
    pictures = _of_whole_pictures(points)
    singles = {point.contender: point for point in points if point.axis == AXIS and point.value == 1}
    own, kept = pictures["pdlm"].seconds, pictures["delayed"].seconds
    sure = f"{steps.average:.1f} steps on average, rounded up; {_change(steps.lost)}"
    delay = _change(steps.lost_by_delay)
    figures: dict[str, tuple[Sequence[float], str]] = {
        "cache": (ratios(pictures["released"].seconds, own), pictures["released"].note),
        "adaptive": (ratios(pictures["released"].seconds, pictures["adaptive"].seconds), sure),
        "one pass": (ratios(pictures["sequential"].seconds, own), _counted(pictures["sequential"], pictures["pdlm"])),
        "growth": (ratios(own, singles["pdlm"].seconds), _counted(pictures["pdlm"], singles["pdlm"])),
        "ar": (ratios(pictures["ar"].seconds, own), _counted(pictures["ar"], pictures["pdlm"])),
        "one pass delayed": (ratios(pictures["sequential delayed"].seconds, kept), delay),
        "growth delayed": (ratios(kept, singles["delayed"].seconds), delay),
        "ar delayed": (ratios(pictures["ar"].seconds, kept), delay),
        "ar adaptive": (ratios(pictures["ar"].seconds, pictures["adaptive"].seconds), "left to right writes all slots"),
        "preparation": (preparation_ms, ""),
    }
    run = {point.contender: point for point in points if point.bench == "e2e"}
    figures["small checkpoint"] = _without_start(run["whole"], run["start"])
    early, late = sorted((own for own in points if own.axis == LONG_RUN), key=lambda own: own.value)
    if early.peak_rss_bytes and late.peak_rss_bytes:
        figures["memory"] = [late.peak_rss_bytes / early.peak_rss_bytes], early.note
    load = {point.contender: point for point in points if point.axis == "passes"}
    if load:
        figures["paradlc"] = load["paradlc"].seconds, ""
        figures["paradlc roofline"] = [100 * (load["paradlc"].of_roofline or 0.0)], ""
        figures["paradlc adaptive"] = load["paradlc, ten steps"].seconds, ""
    return figures


def _without_start(whole: Point, start: Point) -> tuple[Sequence[float], str]:
    """Regions a second, and what they would be with the start, which does not grow with a run."""
    rates = [whole.regions / seconds for seconds in whole.seconds]
    with_start = whole.regions / (whole.median + start.median)
    return rates, f"start left out; with it {with_start:.3g} regions/s in a run of {whole.regions} regions"


def _change(lost: float) -> str:
    return f"the score {'loses' if lost > 0 else 'gains'} {abs(lost):.2f} points"


def _counted(slow: Point, fast: Point) -> str:
    """What would be found if both took no longer than operations and bytes have to, at the machine's own rates."""
    if not (slow.of_roofline and fast.of_roofline):
        return ""
    return f"{slow.median * slow.of_roofline / (fast.median * fast.of_roofline):.2f}x by operations and bytes alone"


def _of_whole_pictures(points: Sequence[Point]) -> dict[str, Point]:
    """By contender."""
    return {point.contender: point for point in points if point.axis == AXIS and point.value > 1}


def contributions(session: Session, points: Sequence[Point]) -> list[dict[str, Any]]:
    """How many times faster each part makes a picture; the first three multiply to the last. Then, counted, what the
    cache saves of the decoder's operations alone."""
    pictures = _of_whole_pictures(points)
    found: list[dict[str, Any]] = []
    for name, slow, fast, says in PARTS:
        whole = pictures[slow].median / pictures[fast].median
        loops = [pictures[who].median - (pictures[who].encode_seconds or 0.0) for who in (slow, fast)]
        found.append({"part": name, "says": says, "times": whole, "times_without_vision": loops[0] / loops[1]})
    contenders, most = session.contenders, session.job.regions
    scene, steps = session.scene(most), session.settings.steps
    [alone], [all_anew] = (scene.passes(model.config, most) for model in (contenders.model, contenders.released_model))
    kept = contenders.cached(contenders.lengths(contenders.model, alone), steps, session.settings)
    anew = recomputed_pass(
        contenders.counts, contenders.lengths(contenders.released_model, all_anew), steps, everywhere=False
    )
    flop = [sum(own.flop * own.times for own in phases if own.name == "decoder") for phases in (anew, kept)]
    says = "operations of the decoder that the cache saves, counted"
    found.append(
        {"part": "decoder", "says": says, "times": flop[0] / flop[1], "times_without_vision": flop[0] / flop[1]}
    )
    return found
