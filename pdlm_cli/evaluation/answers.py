"""What a judge wrote, read as one of the choices it was given."""

from collections.abc import Sequence
from string import ascii_lowercase


def read_answer(answer: str, choices: Sequence[str]) -> int | None:
    """Index of the choice that an answer means, None if it means none.

    The first of these rules that applies decides; upper and lower case are the same.

    1. It is a choice, "letter. choice" or the bare letter.
    2. Exactly one choice lies inside it.
    3. It starts with "letter."
    4. Several choices lie inside it: the one that starts last, the longest of those that start together.
    5. It lies inside choices: the longest of them.
    6. It is a letter, or starts with one that has a line of its own.
    """
    said = answer.strip().lower()
    texts = [choice.lower() for choice in choices]
    letters = ascii_lowercase[: len(texts)]
    for index, (letter, text) in enumerate(zip(letters, texts, strict=True)):
        if said in (text, f"{letter}. {text}", letter):
            return index
    if not said:
        return None
    inside = [index for index, text in enumerate(texts) if text in said]
    if len(inside) == 1:
        return inside[0]
    first, after = letters.find(said[0]), said[1:2]
    if first >= 0 and after == ".":
        return first
    if inside:
        return max(inside, key=lambda index: (said.find(texts[index]), len(texts[index])))
    around = [index for index, text in enumerate(texts) if said in text]
    if around:
        return max(around, key=lambda index: len(texts[index]))
    return first if first >= 0 and after in ("", "\n") else None
