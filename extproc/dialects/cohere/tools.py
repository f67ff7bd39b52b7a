"""``tools`` and ``tool_choice``: https://docs.cohere.com/docs/tool-use-parameter-types"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.errors import InvalidRequest, UnsupportedFeature

Json = dict[str, Any]

_CHOICES: Final = {"none": "NONE", "auto": None, "required": "REQUIRED"}
_NO_PARAMETERS: Final = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """As the provider takes them, None where there is nothing to say; ``dropped``: what could not be promised."""

    tools: list[Json] | None = None
    choice: str | None = None
    strict: bool | None = None
    dropped: tuple[str, ...] = ()


def encode_tools(fields: Mapping[str, Any]) -> Tools:
    """A named tool is the only one offered, and must be called. Raises InvalidRequest and UnsupportedFeature."""
    given = fields.get("tools")
    choice, names = _choice(fields.get("tool_choice"))
    if not given:
        if choice == "REQUIRED":
            raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        return Tools()
    if not isinstance(given, list):
        raise InvalidRequest("Invalid type for 'tools': expected an array.", param="tools")
    functions = [_function(tool, f"tools[{index}]") for index, tool in enumerate(given)]
    chosen = [function for function in functions if names is None or function["name"] in names]
    if not chosen:
        raise InvalidRequest("Invalid value for 'tool_choice': it names none of 'tools'.", param="tool_choice")
    wished = any(function.get("strict") for function in chosen)
    strict = wished and all(function.get("strict") and _has_required(function) for function in chosen)
    return Tools(
        tools=[{"type": "function", "function": _written(function)} for function in chosen],
        choice=choice,
        strict=True if strict else None,
        dropped=("tools.strict",) if wished and not strict else (),
    )


def _function(tool: Any, place: str) -> Json:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        if isinstance(tool, dict) and tool.get("type") not in (None, "function"):
            raise UnsupportedFeature(f"Tools of the type '{tool.get('type')}' are not supported.", param=place)
        raise InvalidRequest(f"Missing required parameter: '{place}.function'.", param=f"{place}.function")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"Missing required parameter: '{place}.function.name'.", param=f"{place}.function.name")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        where = f"{place}.function.parameters"
        raise InvalidRequest(f"Invalid type for '{where}': expected an object.", param=where)
    return function


def _written(function: Json) -> Json:
    written: Json = {"name": function["name"]}
    if function.get("description"):
        written["description"] = function["description"]
    written["parameters"] = function.get("parameters") or _NO_PARAMETERS
    return written


def _has_required(function: Json) -> bool:
    """Strictness wants one required parameter at least: https://docs.cohere.com/docs/structured-outputs#structured-outputs-tools"""
    return bool((function.get("parameters") or {}).get("required"))


def _choice(choice: Any) -> tuple[str | None, frozenset[str] | None]:
    """The provider's word, and the only tools that may be called where the client names some."""
    if choice is None:
        return None, None
    if isinstance(choice, str) and choice in _CHOICES:
        return _CHOICES[choice], None
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function" and (names := _names([choice])):
        return "REQUIRED", names
    if kind == "allowed_tools" and isinstance(choice.get("allowed_tools"), dict):
        allowed = choice["allowed_tools"]
        return "REQUIRED" if allowed.get("mode") == "required" else None, _names(allowed.get("tools"))
    raise InvalidRequest(
        "Invalid value for 'tool_choice': expected none, auto, required, or an object naming a function.",
        param="tool_choice",
    )


def _names(tools: Any) -> frozenset[str]:
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    names = (function.get("name") for function in functions if isinstance(function, dict))
    return frozenset(name for name in names if isinstance(name, str) and name)
