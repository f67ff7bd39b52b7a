"""``tools``, ``tool_choice`` and ``parallel_tool_calls``: https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.dialects.blocks.models import Model
from extproc.dialects.blocks.schema import Inexpressible, guaranteed_schema, tool_schema
from extproc.errors import InvalidRequest, UnsupportedFeature

Json = dict[str, Any]

_CHOICES: Final = {"none": "none", "auto": "auto", "required": "any"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """``tools`` and ``choice`` as the provider takes them, None where there are none; ``dropped``: not guaranteed."""

    tools: list[Json] | None = None
    choice: Json | None = None
    dropped: tuple[str, ...] = ()

    @property
    def forced(self) -> bool:
        """Whether the model must call a tool."""
        return self.choice is not None and self.choice["type"] in {"any", "tool"}


def encode_tools(fields: Mapping[str, Any], model: Model, used: Iterable[str]) -> Tools:
    """``used`` names the tools that were called in the conversation. Raises InvalidRequest and UnsupportedFeature."""
    given = fields.get("tools")
    if not given:
        return _without_tools(fields.get("tool_choice"), used)
    if not isinstance(given, list):
        raise InvalidRequest("Invalid type for 'tools': expected an array.", param="tools")
    dropped: list[str] = []
    tools = [_tool(tool, f"tools[{index}]", model, dropped) for index, tool in enumerate(given)]
    choice, allowed = _choice(fields.get("tool_choice"))
    if choice["type"] in {"any", "tool"} and not model.forces_tools:
        if allowed is None:
            raise UnsupportedFeature("This model cannot be made to call a tool.", param="tool_choice")
        choice = {"type": "auto"}
        dropped.append("tool_choice")
    if allowed is not None:
        tools = [tool for tool in tools if tool["name"] in allowed]
    if fields.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    # Without a choice the provider chooses "auto".
    return Tools(tools=tools, choice=None if choice == {"type": "auto"} else choice, dropped=tuple(dropped))


def _without_tools(choice: Any, used: Iterable[str]) -> Tools:
    """The provider wants a definition of tools that were called before, also where none may be called any more."""
    if choice not in (None, "none", "auto"):
        raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    known = [{"name": name, "input_schema": tool_schema(None)} for name in used]
    return Tools(tools=known, choice={"type": "none"}) if known else Tools()


def _tool(tool: Any, place: str, model: Model, dropped: list[str]) -> Json:
    if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict):
        if isinstance(tool, dict) and tool.get("type") not in (None, "function"):
            raise UnsupportedFeature(f"Tools of the type '{tool.get('type')}' are not supported.", param=place)
        raise InvalidRequest(f"Missing required parameter: '{place}.function'.", param=f"{place}.function")
    function = tool["function"]
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"Missing required parameter: '{place}.function.name'.", param=f"{place}.function.name")
    written: Json = {"name": name}
    if function.get("description"):
        written["description"] = function["description"]
    try:
        written["input_schema"] = tool_schema(function.get("parameters"))
    except (TypeError, ValueError):
        where = f"{place}.function.parameters"
        raise InvalidRequest(f"Invalid value for '{where}': this is no JSON Schema.", param=where) from None
    if function.get("strict"):
        try:
            if not model.structured:
                raise Inexpressible  # noqa: TRY301 - one way out for the model's and the schema's limits
            written["input_schema"] = guaranteed_schema(written["input_schema"] | {"additionalProperties": False})
            written["strict"] = True
        except Inexpressible:
            dropped.append("tools.strict")
    marker = tool.get("cache_control") or function.get("cache_control")
    if marker:
        written["cache_control"] = marker
    return written


def _choice(choice: Any) -> tuple[Json, frozenset[str] | None]:
    """The choice, and the only tools it allows where it names some."""
    if choice is None:
        return {"type": "auto"}, None
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}, None
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function" and (names := _names([choice])):
        return {"type": "tool", "name": next(iter(names))}, None
    if kind == "allowed_tools" and isinstance(choice.get("allowed_tools"), dict):
        allowed = choice["allowed_tools"]
        return {"type": "any" if allowed.get("mode") == "required" else "auto"}, _names(allowed.get("tools"))
    raise InvalidRequest(
        "Invalid value for 'tool_choice': expected none, auto, required, or an object naming a function.",
        param="tool_choice",
    )


def _names(tools: Any) -> frozenset[str]:
    """Of functions that are referred to."""
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    names = (function.get("name") for function in functions if isinstance(function, dict))
    return frozenset(name for name in names if isinstance(name, str) and name)
