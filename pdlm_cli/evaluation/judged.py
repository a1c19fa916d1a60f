"""`pdlm eval score`: the scores of captions that were judged before, in the published form of predictions.

{mask: {"caption": text, "responses": [about recognition, about each question of qa.json]}}
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from pdlm_cli import logs, strict_json
from pdlm_cli.errors import InputError
from pdlm_cli.evaluation.protocol import MaskScore, Question, Scores, score_mask
from pdlm_cli.logs import log

SHOWN = 10  # masks named in one message


@dataclass(frozen=True)
class JudgedScores:
    """exit_code: 3 if masks have no caption, or a first answer that means neither yes nor no."""

    scores: Scores

    @property
    def exit_code(self) -> int:
        return 3 if self.scores.missing or self.scores.recognitions_unparsed else 0

    def to_json(self) -> str:
        return json.dumps(asdict(self.scores))


def run(judged: Path, questions: Path, log_format: str) -> JudgedScores:
    """Score the file, show the table. Raises InputError."""
    console, form = logs.configure(log_format)
    masks = score_file(judged, questions)
    _warn("no caption, which counts as 0", [key for key, mask in masks.items() if mask.missing])
    unread = [key for key, mask in masks.items() if mask.recognition_unparsed]
    _warn("a first answer that is neither yes nor no, which counts as not recognised", unread)
    result = JudgedScores(Scores.of(masks.values()))
    if form != "json":
        console.print(score_table(result.scores, judged.name))
    return result


def score_file(judged: Path, questions: Path) -> dict[str, MaskScore]:
    """Scores of every mask that has questions. Raises InputError if the files are not of the form, or do not match."""
    given = _object(judged)  # first: where it is not there, the questions beside it are not either
    named = _object(questions, "; --questions names the qa.json that was asked from")
    asked = {key: _questions(entry, key, questions) for key, entry in named.items()}
    strangers = sorted(given.keys() - asked.keys())
    if strangers:
        raise InputError(f"{judged} holds masks of which {questions} asks nothing: {_some(strangers)}")
    return {key: score_mask(asked[key], _responses(given.get(key), len(asked[key]), key, judged)) for key in asked}


def score_table(scores: Scores, title: str) -> Table:
    """The scores in percent, and what was counted."""
    table = Table("", "", title=title, show_header=False)
    for name, share in (
        ("Pos", scores.pos),
        ("Neg", scores.neg),
        ("Avg", scores.avg),
        ("pooled per mask", scores.pooled),
        ("right kind of object", scores.recognised),
    ):
        table.add_row(name, percent(share))
    table.add_row("masks", str(scores.masks))
    table.add_row("of them with negatives", str(scores.masks_with_negatives))
    table.add_row("missing captions", str(scores.missing))
    table.add_row("unparsed answers", str(scores.unparsed + scores.recognitions_unparsed))
    return table


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _warn(what: str, keys: list[str]) -> None:
    if keys:
        log.warning("%d masks have %s: %s", len(keys), what, _some(keys))


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")


def _object(path: Path, remedy: str = "") -> Mapping[str, Any]:
    """remedy: what to do where there is no such file."""
    try:
        found = strict_json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}{remedy}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    if not isinstance(found, dict) or not found:
        raise InputError(f"{path}: expected a JSON object with an entry a mask")
    return found


def _questions(entries: Any, key: str, path: Path) -> list[Question]:
    if not isinstance(entries, list) or not all(_is_question(entry) for entry in entries):
        raise InputError(
            f"{path}: mask {key}: expected a list of questions as in qa.json of DLC-Bench or ParaDLC-Bench, each with "
            "question, choices [[text, score], ...] and type"
        )
    return [Question.from_json(entry) for entry in entries]


def _is_question(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("question"), str)
        and entry.get("type") in ("positive", "negative")
        and isinstance(entry.get("choices"), list)
        and 1 <= len(entry["choices"]) <= 26
        and all(_is_choice(choice) for choice in entry["choices"])
    )


def _is_choice(choice: Any) -> bool:
    return (
        isinstance(choice, list)
        and len(choice) == 2
        and isinstance(choice[0], str)
        and type(choice[1]) in (int, float)
        and -1 <= choice[1] <= 1
    )


def _responses(entry: Any, questions: int, key: str, path: Path) -> list[str] | None:
    """None if there is no caption to speak of."""
    if entry is None:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("caption"), str | None):
        raise InputError(f"{path}: mask {key}: expected an object with caption, a text or null, and responses")
    if not (entry.get("caption") or "").strip():
        return None
    responses = entry.get("responses")
    if not isinstance(responses, list) or not all(isinstance(response, str) for response in responses):
        raise InputError(f"{path}: mask {key}: expected responses, a list of the judge's answers")
    if len(responses) != 1 + questions:
        raise InputError(
            f"{path}: mask {key}: expected {1 + questions} responses, about recognition and about each of its "
            f"questions, found {len(responses)}; is --questions the file that was asked from?"
        )
    return responses
