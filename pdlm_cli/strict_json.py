"""JSON as the standard has it: no NaN, no repeated keys, no bottomless nesting."""

import json
import re
import sys
from collections import Counter
from typing import Any, NoReturn

STRING_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?')


class Refused(ValueError):
    """JSON for Python's parser, not for the standard. Any other ValueError of it is a number too long to convert."""


def loads(data: bytes) -> Any:
    """Parse UTF-8, UTF-16 or UTF-32 JSON. Raises ValueError with the place or the name at fault."""
    if not data.strip():
        raise ValueError("the file is empty")
    try:
        return json.loads(data, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not valid JSON: {error.reason} at byte {error.start}; save it as UTF-8") from None
    except RecursionError:
        raise too_deep() from None
    except Refused:
        raise
    except ValueError:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
        number = long_number(text, 0)
        at = number.start()
        raise too_long(number, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)) from None


def too_deep() -> ValueError:
    return ValueError("nested too deeply: annotation files are a few levels deep")


def too_long(number: re.Match[str], line: int, column: int) -> ValueError:
    return ValueError(
        f"the number at line {line}, column {column} has {len(number[0].removeprefix('-')):,} digits, expected at most "
        f"{sys.get_int_max_str_digits():,}; write a longer id as text, in quotes"
    )


def long_number(text: str, start: int) -> re.Match[str]:
    """The first integer from `start` on that Python refuses to convert; there must be one."""
    for found in STRING_OR_NUMBER.finditer(text, start):
        digits = found[0].removeprefix("-")
        if digits.isdigit() and len(digits) > sys.get_int_max_str_digits():
            return found
    raise AssertionError("no number is too long")


def repeated_keys(names: list[str]) -> Refused:
    return Refused(f"repeated keys in one JSON object: {', '.join(map(repr, names[:10]))}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A later key would silently win over an earlier one, so repeated keys are refused."""
    result = dict(pairs)
    if len(result) < len(pairs):
        raise repeated_keys([key for key, uses in Counter(key for key, _ in pairs).items() if uses > 1])
    return result


def _constant(name: str) -> NoReturn:
    raise Refused(f"{name} is not a JSON number; write a finite number or null")


# Parses one value out of a text (see json_stream.py); raises what json raises for what is not JSON.
DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
