"""A load of the shape of ParaDLC-Bench: 299 regions in 103 passes, every picture as large as there are."""

from dataclasses import replace

from model.clock import now
from model.settings import DecodeSettings
from pdlm_cli.bench.contenders import Outcome
from pdlm_cli.bench.roofline import Phase
from pdlm_cli.bench.session import Session
from pdlm_cli.bench.timing import Case

REGIONS = {3: 93, 2: 10}  # passes by how many regions they have
TOGETHER = 8  # passes on the device
FEWER_STEPS = 10


def paradlc_cases(session: Session) -> list[Case]:
    """With the steps asked for, and with few."""
    return [
        _case(session, "paradlc", session.settings),
        _case(session, "paradlc, ten steps", replace(session.settings, steps=FEWER_STEPS)),
    ]


def _case(session: Session, name: str, settings: DecodeSettings) -> Case:
    from model.decode import caption_passes

    model, contenders = session.subject.model, session.contenders
    alike = {size: session.scene(size).passes(model.config, size)[0] for size in REGIONS}
    passes = [alike[size] for size, count in REGIONS.items() for _ in range(count)]
    regions = sum(size * count for size, count in REGIONS.items())

    def run() -> Outcome:
        started = now(model.device)
        found = caption_passes(model, passes, settings, lanes=TOGETHER)
        seconds = now(model.device) - started
        steps = sum(caption.denoise_steps for own in found for caption in own.captions)
        return Outcome(seconds, sum(own.encode_share_ms for own in found) / 1e3, steps / regions)

    def phases(steps: float) -> list[Phase]:
        found: list[Phase] = []
        for size, count in REGIONS.items():
            lengths = contenders.lengths(model, alike[size])
            batches, rest = divmod(count, TOGETHER)
            found += contenders.cached(lengths, steps, settings, passes=TOGETHER) * batches
            found += contenders.cached(lengths, steps, settings, passes=rest) if rest else []
        return found

    return Case(name, "passes", len(passes), regions, regions * settings.length, run, phases, images=len(passes))
