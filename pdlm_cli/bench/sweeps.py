"""One thing varied, everything else as it is: the paper's Figure 1 and its Tables 9 and 11."""

from dataclasses import replace

from pdlm_cli.bench.contenders import Contenders
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.session import Session
from pdlm_cli.bench.timing import Case, case_of
from pdlm_cli.errors import ConfigError

MASKS_OF_FIGURE = 4  # a picture, in Figure 1c


def throughput(session: Session) -> list[Point]:
    """Regions a picture from 1 to N (Figure 1b)."""
    contenders, length = session.contenders, session.settings.length
    names = ["pdlm", *session.job.baselines]
    cases = [
        case_of(contenders.by_name(name), session.scene(count), length, "regions a picture", count)
        for count in session.values(range(1, session.job.regions + 1))
        for name in names
    ]
    return session.measure(cases)


def parallelism(session: Session) -> list[Point]:
    """Four masks a picture, so many of them a pass, one pass after the other (Figure 1c)."""
    contenders, length = session.contenders, session.settings.length
    scene = session.scene(MASKS_OF_FIGURE)
    values = session.values((1, 2, 4))
    if max(values) > contenders.most:
        raise ConfigError(f"this checkpoint takes {contenders.most} regions a pass, and {max(values)} were asked for")
    whole = Contenders(session.subject, session.settings)  # of which nothing is left out
    cases = [
        case_of(whole.one_by_one(together), scene, length, "regions a pass", together, name="pdlm")
        for together in values
    ]
    one_at_a_time = {"ar", "sequential"}  # the first of which stands where the second is
    for name in session.job.baselines:
        together = 1 if name in one_at_a_time else MASKS_OF_FIGURE
        if name != "sequential":
            cases.append(case_of(contenders.by_name(name), scene, length, "regions a pass", together))
    return session.measure(cases)


def steps(session: Session) -> list[Point]:
    """Denoising steps (Table 9), by the published rule, or topk where written tokens are kept, unless another was asked
    for: the usual one ends early."""
    full = "topk" if session.settings.cache == "delayed" else "remask"
    usual = full if session.settings.sampler == "auto" else session.settings.sampler
    job = replace(session.job, decode=replace(session.settings, sampler=usual))
    return _settings(replace(session, job=job), "steps", (16, 32, 48, 64))


def length(session: Session) -> list[Point]:
    """Slots of a caption (Table 11)."""
    return _settings(session, "length", (16, 32, 64))


def _settings(session: Session, field: str, usual: tuple[int, ...]) -> list[Point]:
    scene = session.scene(session.job.regions)
    cases: list[Case] = []
    for value in session.values(usual):
        settings = (
            replace(session.settings, steps=value) if field == "steps" else replace(session.settings, length=value)
        )
        contenders = Contenders(session.subject, settings, session.job.part)
        cases += [
            case_of(contenders.by_name(name), scene, settings.length, field, value)
            for name in ("pdlm", *session.job.baselines)
        ]
    return session.measure(cases)
