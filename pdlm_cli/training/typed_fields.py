"""Nested settings from YAML into frozen dataclasses: unknown fields and wrong types are errors that name the field."""

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Settings = TypeVar("Settings")


def read_settings(kind: type[Settings], values: Any, inside: str = "") -> Settings:
    """An instance of dataclass `kind` from a mapping, nested ones too.

    inside: dotted name of the mapping, for errors. Field types may be bool, int, float, str, Literal, tuple[X, ...],
    tuple of fixed length, dict[str, X], another dataclass, and any of these or None. Raises ValueError naming the
    field, what was expected and what was found. What a dataclass itself finds wrong begins with the name that the field
    has in it: `inside` is put before it here, as a dataclass does not know where it stands.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{inside or 'the job'}: expected fields, found {_found(values)}")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    prefix = f"{inside}." if inside else ""
    unknown = [f"{prefix}{name}" for name in values if name not in fields]
    if unknown:
        raise ValueError(f"unknown field {', '.join(unknown)}; expected one of {', '.join(fields)}")
    missing = [
        f"{prefix}{name}"
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"missing field {', '.join(missing)}")
    read = {name: _value(hints[name], value, f"{prefix}{name}") for name, value in values.items()}
    try:
        return kind(**read)
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from error


def set_field(values: dict[str, Any], name: str, value: Any) -> None:
    """Set a dotted field of nested mappings; a number stands for an item of a list. Raises ValueError if the way
    there leads through something else."""
    *way, last = name.split(".")
    place: Any = values
    for i, step in enumerate(way):
        if isinstance(place, dict):
            if place.get(step) is None:
                place[step] = {}
            place = place[step]
        elif isinstance(place, list) and step.isdecimal() and int(step) < len(place):
            place = place[int(step)]
        else:
            raise ValueError(f"{name}: {'.'.join(way[:i]) or 'the job'} has no part {step!r}")
    if isinstance(place, dict):
        place[last] = value
    elif isinstance(place, list) and last.isdecimal() and int(last) < len(place):
        place[int(last)] = value
    else:
        raise ValueError(f"{name}: {'.'.join(way) or 'the job'} has no part {last!r}")


def at_least(name: str, value: float | None, least: float | None = None, *, above: float | None = None) -> None:
    """Raise ValueError unless a number is as large as wanted; None, for a field that is not set, is."""
    if value is None:
        return
    if least is not None and value < least:
        raise ValueError(f"{name}: expected at least {least}, found {value}")
    if above is not None and value <= above:
        raise ValueError(f"{name}: expected more than {above}, found {value}")


def between(name: str, value: float, least: float, most: float) -> None:
    """Raise ValueError unless a number lies in a range, both ends included."""
    if not least <= value <= most:
        raise ValueError(f"{name}: expected {least} to {most}, found {value}")


def _value(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        if value is None and type(None) in arguments:
            return None
        [wanted] = [argument for argument in arguments if argument is not type(None)]
        return _value(wanted, value, name)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{name}: expected one of {', '.join(map(str, arguments))}, found {_found(value)}")
        return value
    if origin is tuple:
        return _sequence(arguments, value, name)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name}: expected names with values, found {_found(value)}")
        return {str(key): _value(arguments[1], item, f"{name}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return read_settings(hint, value, name)  # type: ignore[arg-type]
    return _plain(hint, value, name)


def _sequence(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"{name}: expected a list, found {_found(value)}")
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        raise ValueError(f"{name}: expected {len(hints)} values, found {len(value)}")
    return tuple(_value(hint, item, f"{name}.{i}") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))


def _plain(hint: type, value: Any, name: str) -> Any:
    if hint is float:
        if isinstance(value, str):  # YAML takes 4e-5, without a point, for a text
            with suppress(ValueError):
                value = float(value)
        if type(value) in (int, float):
            if not math.isfinite(value):
                raise ValueError(f"{name}: expected a finite number, found {value}")
            return float(value)
    elif type(value) is hint:
        return value
    kinds = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
    raise ValueError(f"{name}: expected {kinds[hint]}, found {_found(value)}")


def _found(value: Any) -> str:
    return "nothing" if value is None else f"{value!r}"
