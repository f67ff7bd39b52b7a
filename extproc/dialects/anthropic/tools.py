"""``tools``, ``tool_choice`` and ``parallel_tool_calls``: https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from extproc.dialects.blocks.models import Model
from extproc.dialects.blocks.schema import Inexpressible, guaranteed_schema, tool_schema
from extproc.dialects.blocks.tool_reading import choice_without_tools, read_choice, read_function
from extproc.errors import InvalidRequest, UnsupportedFeature

Json = dict[str, Any]


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
    wanted = read_choice(fields.get("tool_choice"))
    choice: Json = {"type": wanted.kind} if wanted.name is None else {"type": wanted.kind, "name": wanted.name}
    if wanted.forced and not model.forces_tools:
        if wanted.allowed is None:
            raise UnsupportedFeature("This model cannot be made to call a tool.", param="tool_choice")
        choice = {"type": "auto"}
        dropped.append("tool_choice")
    if wanted.allowed is not None:
        tools = [tool for tool in tools if tool["name"] in wanted.allowed]
    if fields.get("parallel_tool_calls") is False and wanted.kind != "none":
        choice["disable_parallel_tool_use"] = True
    # Without a choice the provider chooses "auto".
    return Tools(tools=tools, choice=None if choice == {"type": "auto"} else choice, dropped=tuple(dropped))


def _without_tools(choice: Any, used: Iterable[str]) -> Tools:
    """The provider wants a definition of tools that were called before, also where none may be called any more."""
    if choice not in (None, "none", "auto"):
        raise choice_without_tools()
    known = [{"name": name, "input_schema": tool_schema(None)} for name in used]
    return Tools(tools=known, choice={"type": "none"}) if known else Tools()


def _tool(tool: Any, place: str, model: Model, dropped: list[str]) -> Json:
    function = read_function(tool, place)
    written: Json = {"name": function["name"]}
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
