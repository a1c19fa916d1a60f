"""Which drawn scenes a command is about, as options."""

import re
from collections.abc import Callable

import click

from pdlm_cli.data_engine.limits import LARGEST_SEED, LARGEST_SIZE, MOST_OBJECTS, SMALLEST_SIZE, SPLITS
from pdlm_cli.options import Command, in_order


def scene_options(*, split: str, objects: str | None, size: int | None) -> Callable[[Command], Command]:
    """--seed, --split, --level, --size, --objects: which scenes draw_scene draws. Defaults are given here; size None is
    that of the checkpoint's tiles."""
    from pdlm_cli.data_engine.levels import LEVELS

    by_model = "" if size else "  [default: of the checkpoint's tiles]"
    by_level = "" if objects else "  [default: as the level has it]"
    options = (
        click.option(
            "--seed",
            type=click.IntRange(0, LARGEST_SEED),
            default=0,
            show_default=True,
            help="Another seed, other scenes.",
        ),
        click.option(
            "--split",
            type=click.Choice(SPLITS),
            default=split,
            show_default=True,
            help="Scenes of different splits are different under any seed.",
        ),
        click.option(
            "--level",
            type=click.IntRange(0, len(LEVELS) - 1),
            default=len(LEVELS) - 1,
            show_default=True,
            help="From plain shapes to full scenes; `pdlm data scenes --help` describes them.",
        ),
        click.option(
            "--size",
            type=click.IntRange(SMALLEST_SIZE, LARGEST_SIZE),
            default=size,
            show_default=size is not None,
            help=f"Pixels along the shorter side.{by_model}",
        ),
        click.option(
            "--objects",
            metavar="MIN-MAX",
            default=objects,
            show_default=objects is not None,
            callback=_fewest_and_most,
            help=f"Objects in a picture, 1 to 10.{by_level}",
        ),
    )
    return lambda command: in_order(command, *options)


def _fewest_and_most(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", value)
    if match is None:
        raise click.BadParameter(f"{value!r}; expected a number or two, like 3 or 2-6")
    fewest, most = int(match[1]), int(match[2] or match[1])
    if not 1 <= fewest <= most <= MOST_OBJECTS:
        raise click.BadParameter(f"{value!r}; expected 1 to {MOST_OBJECTS}, the smaller number first")
    return fewest, most
