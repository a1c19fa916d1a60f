"""Where a picture's time goes, before and after each step from the published loop: `python -m tests.profiles`.

Six regions in pictures of as many tiles as there are, 32 steps, by torch.profiler. Of loops that compute everything
anew one step is run and counted as often as there are steps. A size, tiny, 100m (the usual one), 1b or 8b, makes
random weights; `ours` takes the checkpoint that ships. Time is of the clock: on a busy machine only the shares mean
something.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from model.pdlm import PerceptionDLM
from model.settings import DecodeSettings
from pdlm_cli.bench.contenders import Contender, Contenders, Part
from pdlm_cli.bench.subject import open_subject
from pdlm_cli.bench.workload import Scene, draw_scene, most_tiles

SETTINGS = DecodeSettings(steps=32, length=32)
FEWER = 6  # steps that the small checkpoint needs on scenes, see docs/bench
# Words in the names of operations.
KINDS = {
    "products": ("aten::mm", "aten::addmm", "aten::bmm", "convolution", "_linear_pointwise"),
    "attention": ("scaled_dot_product", "attention"),
}
ROWS = ("vision: products", "vision: attention", "vision: else")
ROWS += ("decoder: products", "decoder: attention", "decoder: else")
ROWS += ("vocabulary and rule: products", "vocabulary and rule: else")


def steps_of(contenders: Contenders) -> dict[str, Contender]:
    """Each differs from the one before by one thing: see `verdicts.PARTS`."""
    return {
        "`released`": contenders.released(),
        "logits at slots": contenders.uncached(),
        "cached": contenders.together(),
        "adaptive": contenders.together(replace(SETTINGS, steps=FEWER)),
    }


def profiled(contenders: Contenders, contender: Contender, scene: Scene) -> dict[str, float]:
    """Seconds of a picture by ROWS."""
    with (
        _scoped(contenders.model),
        _scoped(contenders.released_model),
        profile(activities=[ProfilerActivity.CPU]) as seen,
    ):
        outcome = contender.caption(scene)
    found: Counter[str] = Counter()
    for event in seen.events():
        part = _part(event)
        often = 1 if part == "vision" else 1 / outcome.measured  # vision is no part of a step, and was run whole
        found[_row(part, event.name)] += often * event.self_cpu_time_total / 1e6
    return {row: found[row] for row in ROWS}


@contextmanager
def _scoped(model: PerceptionDLM) -> Iterator[None]:
    """What modules do stands below the name of their part."""
    parts: dict[str, tuple[nn.Module, ...]] = {
        "vision": (model.vision_model, model.vision_abstractor),
        "decoder": (model.language_model.model.layers,),
    }
    hooks, opened = [], []

    def enter(part: str) -> Any:
        scope = record_function(f"part {part}")
        scope.__enter__()
        opened.append(scope)

    for part, roots in parts.items():
        for module in (own for root in roots for own in root.modules()):
            hooks.append(module.register_forward_pre_hook(lambda *_, part=part: enter(part)))
            hooks.append(module.register_forward_hook(lambda *_: opened.pop().__exit__(None, None, None)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _part(event: Any) -> str:
    above = event
    while above is not None:
        if above.name.startswith("part "):
            return str(above.name.removeprefix("part "))
        above = above.cpu_parent
    return "vocabulary and rule"


def _row(part: str, name: str) -> str:
    kind = next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "else")
    row = f"{part}: {kind}"
    return row if row in ROWS else f"{part}: else"


def table(what: str = "100m") -> str:
    """Markdown: shares of the time of a picture, and the time."""
    model = open_subject(*((None, None) if what == "ours" else (None, what)), None, "cpu", "fp32")
    contenders = Contenders(model, SETTINGS, Part(steps=1))
    scene = draw_scene(model.model.config, most_tiles(model.model.config), contenders.most)
    contenders.together(replace(SETTINGS, steps=1)).caption(scene)  # warm-up
    with torch.inference_mode():
        columns = {name: profiled(contenders, own, scene) for name, own in steps_of(contenders).items()}
    wholes = {name: sum(rows.values()) for name, rows in columns.items()}
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in ROWS:
        shares = (f"{100 * rows[row] / wholes[name]:.1f} %" for name, rows in columns.items())
        lines.append(f"| {row} | {' | '.join(shares)} |")
    return "\n".join([*lines, f"| seconds | {' | '.join(f'{whole:.3g}' for whole in wholes.values())} |"])


if __name__ == "__main__":
    print(table(*sys.argv[1:]))
