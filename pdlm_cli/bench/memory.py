"""Memory that a batch takes, beside what is planned for it."""

from dataclasses import replace

from model.clock import now
from pdlm_cli.bench.contenders import Outcome
from pdlm_cli.bench.points import Point
from pdlm_cli.bench.session import Session
from pdlm_cli.bench.timing import Case
from pdlm_cli.bench.usage import resident_bytes


def memory(session: Session) -> list[Point]:
    """Passes a batch, each of as many regions and tiles as there can be."""
    import torch

    from model.decode import caption_passes
    from model.memory import pass_bytes

    model, settings = session.subject.model, session.settings
    scene = session.scene(session.contenders.most)
    [prepared] = scene.passes(model.config, session.contenders.most)

    def case(count: int) -> Case:
        def run() -> Outcome:
            started = now(model.device)
            found = caption_passes(model, [prepared] * count, settings)
            seconds, encode = now(model.device) - started, sum(own.encode_share_ms for own in found) / 1e3
            return Outcome(seconds, encode, found[0].captions[0].denoise_steps)

        regions = count * len(scene.masks)
        return Case("pdlm", "passes a batch", count, regions, regions * settings.length, run, images=count)

    on_gpu = model.device.type == "cuda"
    caption_passes(model, session.scene(1).passes(model.config, 1), settings)  # which loads what is never given back
    held = torch.cuda.memory_allocated(model.device) if on_gpu else resident_bytes()
    one = pass_bytes(model.config, settings, model.dtype.itemsize)
    session.facts |= {"held_before_bytes": held, "planned_bytes_a_pass": one}
    points: list[Point] = []
    for count in session.values((1, 2, 4, 8)):  # upwards: what a process has had, it does not always give back
        measured = session.measure([case(count)])
        points += [replace(point, planned_bytes=(held or 0) + count * one) for point in measured]
    return points
