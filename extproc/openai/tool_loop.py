"""Tool calls in the client's messages, and the results that answer them: what every other format reads of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from extproc.errors import InvalidRequest
from extproc.openai.tool_call_id import bare

_Place = TypeVar("_Place")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """``identifier`` is the client's, with what rides in it; ``arguments`` are as they came."""

    identifier: str
    name: str
    arguments: Any


def calls_of(message: Mapping[str, Any], where: str) -> list[Any]:
    """An assistant's calls, not yet looked into. Raises InvalidRequest."""
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise InvalidRequest(f"Invalid type for '{where}.tool_calls': expected an array.", param=where)
    return calls


def read_call(call: object, place: str) -> ToolCall:
    """Raises InvalidRequest where the name or the id is missing."""
    entry: dict[str, Any] = call if isinstance(call, dict) else {}
    function = entry.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise InvalidRequest(f"Missing required parameter: '{place}.function.name'.", param=place)
    identifier = entry.get("id")
    if not isinstance(identifier, str) or not identifier:
        raise InvalidRequest(f"Missing required parameter: '{place}.id'.", param=f"{place}.id")
    return ToolCall(identifier=identifier, name=name, arguments=function.get("arguments"))


def arguments_of(call: ToolCall, place: str) -> dict[str, Any]:
    """As an object, of which integers of any length stay what they are. Raises InvalidRequest."""
    if call.arguments in (None, ""):
        return {}
    try:
        value = json.loads(call.arguments)
    except (TypeError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"Invalid value for '{place}.function.arguments': expected the JSON text of an object.", param=place
        )
    return value


def refuse_role(where: str) -> NoReturn:
    """Of a message in none of OpenAI's roles. Raises InvalidRequest."""
    raise InvalidRequest(
        f"Invalid value for '{where}.role': expected system, developer, user, assistant or tool.",
        param=f"{where}.role",
    )


class Unanswered(Generic[_Place]):
    """Calls whose results are still to come, each with the place where its result belongs."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def add(self, identifier: str, place: _Place) -> None:
        """A call, by the client's id."""
        self._places[identifier] = place

    def answer(self, message: Mapping[str, Any], where: str) -> _Place:
        """Where a tool's message belongs; clients may keep the bare id alone. Raises InvalidRequest."""
        identifier = message.get("tool_call_id")
        if isinstance(identifier, str):
            own = bare(identifier)
            key = identifier if identifier in self._places else next((k for k in self._places if bare(k) == own), None)
            if key is not None:
                return self._places.pop(key)
        raise InvalidRequest(
            "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
            param=f"{where}.tool_call_id",
        )

    def check(self) -> None:
        """Raises InvalidRequest when there are any."""
        if self._places:
            missing = ", ".join(map(bare, self._places))
            raise InvalidRequest(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. These had no response: {missing}.",
                param="messages",
            )
