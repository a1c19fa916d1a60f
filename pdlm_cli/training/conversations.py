"""Conversations as open data sets write them: turns of `from`/`value` or `role`/`content`, `<image>` for pictures."""

from collections.abc import Iterator, Sequence
from typing import Any

from pdlm_cli.errors import RegionError

ASKS, ANSWERS = ("human", "user"), ("gpt", "assistant")
PICTURE = "<image>"


def turn_pairs(turns: list[Any]) -> Iterator[tuple[str, str]]:
    """Question and answer of each turn of a user that is answered; marks stand in it for pictures."""
    question = None
    for turn in turns:
        role, text = _role(turn), _text(turn)
        if role in ASKS:
            question = text
        elif role in ANSWERS and question is not None and text is not None:
            yield question, text
            question = None


def first_shown(questions: Sequence[str]) -> int:
    """The first turn that has a picture to look at; those before it are context only."""
    return next((number for number, question in enumerate(questions) if PICTURE in question), 0)


def without_marks(question: str) -> str:
    """The text alone, without the line breaks that belong to marks."""
    for mark in (PICTURE + "\n", "\n" + PICTURE, PICTURE):
        question = question.replace(mark, "")
    return question


def question_parts(questions: Sequence[str], pictures: Sequence[int]) -> list[list[str | int]]:
    """Texts of each question, and entries of `pictures` (how many tiles each has) where they stand among them.

    Several pictures stand at their marks, or before the first question if there are none. A single one stands before
    the question that shows it, wherever in it the mark is: so it is when a model is asked. Raises RegionError bad_image
    unless there are as many marks as pictures.
    """
    marks = sum(question.count(PICTURE) for question in questions)
    if not marks:
        questions = [(PICTURE + "\n") * len(pictures) + questions[0], *questions[1:]]
    elif marks != len(pictures):
        raise RegionError(
            "bad_image", f"expected as many pictures as marks {PICTURE}, found {len(pictures)} and {marks}"
        )
    if len(pictures) == 1:
        questions = [f"{PICTURE}\n{without_marks(text)}" if PICTURE in text else text for text in questions]
    left = iter(pictures)
    found: list[list[str | int]] = []
    for question in questions:
        first, *others = question.split(PICTURE)
        parts: list[str | int] = [first]
        for text in others:
            parts += [next(left), text]
        found.append([part for part in parts if part != ""])
    return found


def _role(turn: Any) -> Any:
    return (turn.get("from") or turn.get("role")) if isinstance(turn, dict) else None


def _text(turn: dict[str, Any]) -> str | None:
    value = turn.get("value") if turn.get("value") is not None else turn.get("content")
    if isinstance(value, list):  # content in parts
        value = "".join(_part(part) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else None


def _part(part: dict[str, Any]) -> str:
    if isinstance(part.get("text"), str):
        return str(part["text"])
    return PICTURE + "\n" if part.get("type") == "image" else ""
