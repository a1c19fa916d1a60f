"""A picture of how a run learnt: losses and rate over steps, from the log that it keeps."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdlm_cli.errors import InputError
from pdlm_cli.logs import read_events
from pdlm_cli.plotting import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG = "log.jsonl"


def is_training_run(folder: Path) -> bool:
    return (folder / LOG).is_file()


def draw_curves(folder: Path) -> "Figure":
    """Loss in training and on held-out samples, learning rate below. Raises InputError if no step is logged yet,
    ConfigError without matplotlib."""
    require_matplotlib()
    from matplotlib.figure import Figure

    events = _events(folder / LOG)
    steps = [event for event in events.values() if "loss" in event]
    held_out = [event for event in events.values() if "eval_loss" in event]
    if not steps:
        raise InputError(f"{folder / LOG}: no step is logged yet")
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    above, below = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    above.plot(*_series(steps, "loss"), color="#2b6ca3", linewidth=1, label="training")
    if held_out:
        above.plot(*_series(held_out, "eval_loss"), "o-", color="#c0561f", markersize=4, label="held out")
    values = [event["loss"] for event in steps] + [event["eval_loss"] for event in held_out]
    if min(values) > 0 and max(values) > 10 * min(values):
        above.set_yscale("log")
    above.set_ylabel("loss")
    above.legend(frameon=False)
    below.plot(*_series(steps, "learning_rate"), color="gray", linewidth=1)
    below.set_ylabel("learning rate")
    below.set_xlabel("step")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    return figure


def _events(log: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Steps and evaluations in order. What a run went through twice, killed in between, counts as the second time."""
    found = {}
    for event in read_events(log):
        if event.get("event") in ("step", "evaluation"):
            found[event["event"], event["step"]] = event
    return dict(sorted(found.items(), key=lambda item: item[0][1]))


def _series(events: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    return [event["step"] for event in events], [event[name] for event in events]
