"""A rule-based judge: answers the questions of benchmark.py by reading the caption word by word, without a model."""

import re
from collections.abc import Sequence

from pdlm_cli.data_engine.benchmark import said_of
from pdlm_cli.data_engine.parsing import named_kinds, parse

_ATTRIBUTE = re.compile(
    r"The (?P<attribute>color|pattern|material|shape) of the (?P<kind>\w+)(?:'s (?P<part>\w+))? is mentioned "
    r"in the description and it is (?P<value>[\w ]+)\."
)
_ABSENT = re.compile(r"(?:An? )?(?P<part>\w+) of the (?P<kind>\w+) (?:is|are) mentioned in the description\.")
_OTHER = re.compile(r"The (?:(?P<adjective>\w+) )?(?P<noun>\w+) (?:is|are) mentioned in the description\.")


def choose(caption: str, choices: Sequence[str]) -> int:
    """Index of the choice that fits the caption.

    choices: of one question as benchmark.py words them, in its order. Raises ValueError for any other.
    """
    claim = choices[0]
    if len(choices) == 4 and (match := _ATTRIBUTE.fullmatch(claim)):
        return _attribute(caption, match["kind"], match["part"] or match["kind"], match["attribute"], match["value"])
    if len(choices) == 3 and (match := _ABSENT.fullmatch(claim)):
        return _absent_part(caption, match["kind"], match["part"].lower())
    if len(choices) == 2 and (match := _OTHER.fullmatch(claim)):
        return 0 if _mentions(caption, match["adjective"], match["noun"]) else 1
    raise ValueError(f"not a question of the scene benchmark: {claim!r} and {len(choices) - 1} more choices")


def recognised(caption: str, kind: str) -> bool:
    """Whether the first object a caption names is of that kind."""
    return parse(caption).kind == kind


def _attribute(caption: str, kind: str, name: str, attribute: str, value: str) -> int:
    """0 said and right, 1 no such part, 2 said and wrong, 3 the part without the attribute."""
    mentioned = parse(caption)
    parts = [part for part in mentioned.parts if part.name == name]
    if mentioned.kind != kind or not parts:
        return 1
    said = {found for part in parts for stated, found in said_of(part) if stated == attribute}
    if not said:
        return 3
    return 0 if said == {value} else 2


def _absent_part(caption: str, kind: str, name: str) -> int:
    """0 the part is mentioned, 1 not even the kind is, 2 it is not."""
    if kind not in named_kinds(caption):
        return 1
    return 0 if any(part.name == name for part in parse(caption).parts) else 2


def _mentions(caption: str, adjective: str | None, noun: str) -> bool:
    if adjective is None:
        return noun in named_kinds(caption)
    return any(part.name == noun and adjective in (*part.colors, part.pattern) for part in parse(caption).parts)
