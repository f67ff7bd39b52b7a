"""Reading the request fields that the demo model looks at; wrong ones are refused in OpenAI's words, with their path.

https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from extproc.errors import InvalidRequest

LONGEST_NAME: Final = 64
"""Characters of a name that a client may give to a tool or a schema."""

_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def wrong_type(path: str, expected: str, value: object) -> InvalidRequest:
    """The error for a value of another type than ``expected``."""
    got = _TYPE_NAMES[type(value)]
    return InvalidRequest(f"Invalid type for '{path}': expected {expected}, but got {got} instead.", param=path)


def required(fields: Mapping[str, Any], name: str, path: str) -> object:
    """The member ``name`` of the object at ``path``."""
    if name not in fields:
        where = f"{path}.{name}"
        raise InvalidRequest(f"Missing required parameter: '{where}'.", param=where)
    return fields[name]


def an_object(value: object, path: str) -> dict[str, Any]:
    """``value`` as an object."""
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)
    return value


def an_array(value: object, path: str, of: str, *, longest: int | None = None) -> list[Any]:
    """``value`` as an array of 1 to ``longest`` members; ``of`` names what it holds, for the error."""
    if not isinstance(value, list):
        raise wrong_type(path, f"an array of {of}", value)
    if not value:
        message = (
            f"Invalid '{path}': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise InvalidRequest(message, param=path)
    if longest is not None and len(value) > longest:
        message = (
            f"Invalid '{path}': array too long. Expected an array with maximum length {longest}, "
            f"but got an array with length {len(value)} instead."
        )
        raise InvalidRequest(message, param=path)
    return value


def a_string(value: object, path: str, *, longest: int | None = None) -> str:
    """``value`` as a string of at most ``longest`` characters."""
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    if longest is not None and len(value) > longest:
        message = (
            f"Invalid '{path}': string too long. Expected a string with maximum length {longest}, "
            f"but got a string with length {len(value)} instead."
        )
        raise InvalidRequest(message, param=path)
    return value


def a_boolean(value: object, path: str) -> bool:
    """``value`` as a boolean."""
    if not isinstance(value, bool):
        raise wrong_type(path, "a boolean", value)
    return value


def an_integer(value: object, path: str, *, minimum: int, maximum: int | None = None) -> int:
    """``value`` as an integer from ``minimum`` to ``maximum``, both included."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(path, "an integer", value)
    if value < minimum:
        message = (
            f"Invalid '{path}': integer below minimum value. Expected a value >= {minimum}, but got {value} instead."
        )
        raise InvalidRequest(message, param=path)
    if maximum is not None and value > maximum:
        message = (
            f"Invalid '{path}': integer above maximum value. Expected a value <= {maximum}, but got {value} instead."
        )
        raise InvalidRequest(message, param=path)
    return value


def one_of(value: object, path: str, names: Sequence[str]) -> str:
    """``value`` as one of ``names``, of which there are two or more."""
    text = a_string(value, path)
    if text not in names:
        *others, last = (f"'{name}'" for name in names)
        before_last = ", " if len(others) > 1 else " "
        message = (
            f"Invalid value: '{text[:LONGEST_NAME]}'. Supported values are: {', '.join(others)}{before_last}and {last}."
        )
        raise InvalidRequest(message, param=path)
    return text
