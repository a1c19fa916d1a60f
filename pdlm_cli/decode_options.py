"""Options of decoding, which are the fields of model.settings, and what they say together. Light to import."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from model.settings import CACHES, CHAT_CACHES, SAMPLERS, ChatSettings, DecodeSettings, refresh_every
from pdlm_cli.number_range import NumberRange
from pdlm_cli.options import Command, in_order


def decode_settings(given: Mapping[str, Any]) -> DecodeSettings:
    """given: values of `decode_options`. Raises UsageError if they do not go together."""
    try:
        return DecodeSettings(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def chat_settings(given: Mapping[str, Any]) -> ChatSettings:
    """given: values of `answer_options` and `sampling_options`, and the seed. Raises UsageError."""
    try:
        return ChatSettings(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def decode_options(command: Command) -> Command:
    """--steps to --cache: the fields of DecodeSettings."""
    return in_order(
        command,
        click.option(
            "--steps",
            type=click.IntRange(min=1),
            default=32,
            show_default=True,
            help="Denoising steps; fewer is faster.",
        ),
        click.option(
            "--length",
            type=click.IntRange(min=1),
            default=32,
            show_default=True,
            help="Tokens a caption may have.",
        ),
        click.option("--prompt", metavar="TEXT", help="Instruction.  [default: the one the checkpoint learnt]"),
        click.option(
            "--sampler",
            type=click.Choice(("auto", *SAMPLERS)),
            default="auto",
            show_default=True,
            is_eager=True,  # known when its settings are looked at
            help="Which tokens a step writes. topk: an even share, the surest first; remask, the published rule: the "
            "same, but it may take them back; threshold, factor, entropy: more where the model is sure, so that "
            "captions take fewer steps. auto: factor, remask for published checkpoints.",
        ),
        click.option(
            "--threshold",
            type=NumberRange(0, 1, min_open=True),
            default=0.9,
            show_default=True,
            callback=_check_setting,
            help="For --sampler threshold: write all tokens at least this probable.",
        ),
        click.option(
            "--factor",
            type=NumberRange(min=0, min_open=True),
            default=0.25,
            show_default=True,
            callback=_check_setting,
            help="For --sampler factor: write n tokens while the doubt of the last is below factor / (n + 1).",
        ),
        click.option(
            "--entropy",
            type=NumberRange(min=0),
            default=0.1,
            show_default=True,
            callback=_check_setting,
            help="For --sampler entropy: write tokens while their entropies, but for the last, stay below this sum, in "
            "nats.",
        ),
        click.option(
            "--stable",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Write a caption to its end once this many steps have changed nothing; 0 for never.",
        ),
        sampling_options,
        _cache_option(CACHES),
    )


def answer_options(*, length: int, block: int, steps: int, sampler: str) -> Callable[[Command], Command]:
    """--length, --block, --steps, --sampler, --cache: fields of ChatSettings, with their defaults."""
    options = (
        click.option(
            "--length",
            type=click.IntRange(min=1),
            default=length,
            show_default=True,
            help="Tokens an answer may have.",
        ),
        click.option(
            "--block",
            type=click.IntRange(min=1),
            default=block,
            show_default=True,
            help="Tokens that are written together before the next ones, a divisor of --length; 1 for left to right.",
        ),
        click.option(
            "--steps",
            type=click.IntRange(min=1),
            default=steps,
            show_default=True,
            help="Denoising steps of an answer of full length, a multiple of its blocks; fewer is faster.",
        ),
        click.option(
            "--sampler",
            type=click.Choice(SAMPLERS[1:]),  # all but remask, which blocks do not have
            default=sampler,
            show_default=True,
            help="Which tokens of a block a step writes. topk, the published rule: an even share, the surest first; "
            "threshold, factor, entropy: more where the model is sure, so that an answer takes fewer steps.",
        ),
        _cache_option(CHAT_CACHES),
    )
    return lambda command: in_order(command, *options)


def sampling_options(command: Command) -> Command:
    """--temperature, --top-p, --top-k, --cfg-scale."""
    return in_order(
        command,
        click.option(
            "--temperature",
            type=NumberRange(min=0),
            default=0.0,
            show_default=True,
            help="0 takes the likeliest token.",
        ),
        click.option(
            "--top-p",
            type=NumberRange(0, 1, min_open=True),
            default=1.0,
            show_default=True,
            help="Sample from the likeliest tokens of this total probability.",
        ),
        click.option(
            "--top-k",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Sample from this many likeliest tokens; 0 for all.",
        ),
        click.option(
            "--cfg-scale",
            type=NumberRange(min=0),
            default=0.0,
            show_default=True,
            help="Classifier-free guidance; 0 is off.",
        ),
    )


def sampling_seed_option(command: Command) -> Command:
    """--seed, where it only matters to decoding."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of --temperature sampling."
    )(command)


def _check_setting(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """The setting of a sampler, which others would pass over. Its default may be written out beside any of them."""
    sampler = context.params["sampler"]
    used = sampler == parameter.name or (sampler == "auto" and parameter.name == "factor")
    if not used and value != parameter.default:
        raise click.BadParameter(f"it is for --sampler {parameter.name}, not for {sampler}")
    return value


KEPT = {
    "auto": "exact where it can be, else none",
    "none": "all are computed in every step",
    "exact": "those of picture and prompt are kept, where they see no caption",
    "delayed": "those of written tokens are kept too, which is approximate",
    "frozen": "those of picture and prompt are kept although they see what is written, which is approximate",
}


def _cache_option(kinds: tuple[str, ...]) -> Callable[[Command], Command]:
    """kinds: the default, and what else there is beside refresh=K."""

    def check(context: click.Context, parameter: click.Parameter, value: str) -> str:
        if value not in kinds and not refresh_every(value):
            raise click.BadParameter(f"{value!r}; expected {', '.join(kinds)} or refresh=K with K of 1 or more")
        return value

    return click.option(
        "--cache",
        default=kinds[0],
        show_default=True,
        callback=check,
        help="Keys and values between steps. "
        + "; ".join(f"{kind}: {KEPT[kind]}" for kind in kinds)
        + "; refresh=K: again in every K-th step.",
    )
