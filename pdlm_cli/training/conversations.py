"""Conversations as open data sets write them: turns of `from`/`value` or `role`/`content`."""

from collections.abc import Iterator
from typing import Any

ASKS, ANSWERS = ("human", "user"), ("gpt", "assistant")
IMAGE_PLACES = ("<image>\n", "\n<image>", "<image>")  # the prompt has its own place for the picture


def turn_pairs(turns: list[Any]) -> Iterator[tuple[str, str]]:
    """Question and answer of each turn of a user that is answered, without the marks that stand for the picture."""
    question = None
    for turn in turns:
        role, text = _role(turn), _text(turn)
        if role in ASKS:
            question = text
        elif role in ANSWERS and question is not None and text is not None:
            yield question, text
            question = None


def _role(turn: Any) -> Any:
    return (turn.get("from") or turn.get("role")) if isinstance(turn, dict) else None


def _text(turn: dict[str, Any]) -> str | None:
    value = turn.get("value") if turn.get("value") is not None else turn.get("content")
    if isinstance(value, list):  # content in parts, of which the text counts
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        value = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(value, str):
        return None
    for mark in IMAGE_PLACES:
        value = value.replace(mark, "")
    return value
