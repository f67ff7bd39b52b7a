"""``tools`` and ``tool_choice`` as the client wrote them, read for both dialects.

https://platform.openai.com/docs/api-reference/chat/create#chat_create-tools
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.errors import InvalidRequest, UnsupportedFeature

_WORDS: Final = {"none": "none", "auto": "auto", "required": "any"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``kind``: none, auto, any or tool, of which the last has a ``name``. ``allowed``: the only tools, where named."""

    kind: str
    name: str | None = None
    allowed: frozenset[str] | None = None

    @property
    def forced(self) -> bool:
        """Whether the model must call a tool."""
        return self.kind in {"any", "tool"}


def read_function(tool: Any, place: str) -> Mapping[str, Any]:
    """A tool's ``function``, which has a name. Raises InvalidRequest; UnsupportedFeature for other kinds of tools."""
    if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict):
        if isinstance(tool, dict) and tool.get("type") not in (None, "function"):
            raise UnsupportedFeature(f"Tools of the type '{tool.get('type')}' are not supported.", param=place)
        raise InvalidRequest(f"Missing required parameter: '{place}.function'.", param=f"{place}.function")
    function: Mapping[str, Any] = tool["function"]
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"Missing required parameter: '{place}.function.name'.", param=f"{place}.function.name")
    return function


def read_choice(choice: Any) -> Choice:
    """Raises InvalidRequest."""
    if choice is None:
        return Choice(kind="auto")
    if isinstance(choice, str) and choice in _WORDS:
        return Choice(kind=_WORDS[choice])
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function" and (names := _names([choice])):
        return Choice(kind="tool", name=next(iter(names)))
    if kind == "allowed_tools" and isinstance(choice.get("allowed_tools"), dict):
        given = choice["allowed_tools"]
        return Choice(kind="any" if given.get("mode") == "required" else "auto", allowed=_names(given.get("tools")))
    raise InvalidRequest(
        "Invalid value for 'tool_choice': expected none, auto, required, or an object naming a function.",
        param="tool_choice",
    )


def choice_without_tools() -> InvalidRequest:
    """What OpenAI says too."""
    return InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")


def _names(tools: Any) -> frozenset[str]:
    """Of functions that are referred to."""
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    names = (function.get("name") for function in functions if isinstance(function, dict))
    return frozenset(name for name in names if isinstance(name, str) and name)
