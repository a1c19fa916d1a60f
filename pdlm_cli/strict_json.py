"""JSON as the standard has it: no NaN, no repeated keys, no bottomless nesting."""

import json
from collections import Counter
from typing import Any, NoReturn


def loads(data: bytes) -> Any:
    """Parse UTF-8, UTF-16 or UTF-32 JSON. Raises ValueError with the place or the name at fault."""
    try:
        return json.loads(data, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not valid JSON: {error.reason} at byte {error.start}; save it as UTF-8") from None
    except RecursionError:
        raise too_deep() from None


def too_deep() -> ValueError:
    return ValueError("nested too deeply: annotation files are a few levels deep")


def repeated_keys(names: list[str]) -> ValueError:
    return ValueError(f"repeated keys in one JSON object: {', '.join(map(repr, names[:10]))}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A later key would silently win over an earlier one, so repeated keys are refused."""
    result = dict(pairs)
    if len(result) < len(pairs):
        raise repeated_keys([key for key, uses in Counter(key for key, _ in pairs).items() if uses > 1])
    return result


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number; write a finite number or null")


# Parses one value out of a text (see json_stream.py); raises what json raises for what is not JSON.
DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
