"""JSON objects: files whose fields must be there, and in which fields two differ."""

import json
from pathlib import Path
from typing import Any


class Fields:
    """A JSON object of a file: `fields(name)` is the value of a field, or a ValueError that says which is missing."""

    def __init__(self, path: Path, values: dict[str, Any], inside: str = "") -> None:
        self.path, self.values, self.inside = path, values, inside

    def __call__(self, name: str) -> Any:
        if name not in self.values:
            raise ValueError(f"{self.path}: expected a field {self.inside}{name}, found none")
        return self.values[name]

    def part(self, name: str) -> "Fields":
        return Fields(self.path, self(name), f"{self.inside}{name}.")


def read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ValueError(f"{path.parent} lacks {path.name}: is it a checkpoint?")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def differing(one: dict[str, Any], other: dict[str, Any], inside: str = "") -> list[str]:
    """Dotted names of the fields, nested ones too, that have another value in each; one that is missing is null."""
    found = []
    for name in sorted(one.keys() | other.keys()):
        first, second, full = one.get(name), other.get(name), f"{inside}{name}"
        if isinstance(first, dict) and isinstance(second, dict):
            found += differing(first, second, f"{full}.")
        elif first != second:
            found.append(full)
    return found
