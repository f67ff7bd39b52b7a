"""``tools`` and ``tool_choice``: https://ai.google.dev/gemini-api/docs/function-calling#function_calling_modes"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.dialects.gemini.schema import NoSchema, clean_schema
from extproc.errors import InvalidRequest, UnsupportedFeature

Json = dict[str, Any]

_MODES: Final = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
# "Must start with a letter or an underscore": https://ai.google.dev/api/caching#FunctionDeclaration
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """``tools`` and ``config`` as the provider takes them, None where there are none."""

    tools: list[Json] | None = None
    config: Json | None = None


def encode_tools(fields: Mapping[str, Any], dropped: set[str]) -> Tools:
    """Raises InvalidRequest and UnsupportedFeature."""
    given = fields.get("tools")
    if not given:
        if fields.get("tool_choice") not in (None, "none", "auto"):
            raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        return Tools()
    if not isinstance(given, list):
        raise InvalidRequest("Invalid type for 'tools': expected an array.", param="tools")
    declarations = [_declaration(tool, f"tools[{index}]") for index, tool in enumerate(given)]
    mode, allowed = _choice(fields.get("tool_choice"))
    if mode == "AUTO" and (allowed or any(tool["function"].get("strict") for tool in given)):
        # Free to call or not, but by the schema: the one mode that also takes names beside ANY.
        mode = "VALIDATED"
    if fields.get("parallel_tool_calls") is False and mode != "NONE":
        dropped.add("parallel_tool_calls")
    config: Json = {"mode": mode, **({"allowedFunctionNames": allowed} if allowed else {})}
    return Tools(
        tools=[{"functionDeclarations": declarations}],
        # Without a mode the provider takes AUTO.
        config=None if mode == "AUTO" else {"functionCallingConfig": config},
    )


def _declaration(tool: Any, place: str) -> Json:
    if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict):
        if isinstance(tool, dict) and tool.get("type") not in (None, "function"):
            raise UnsupportedFeature(f"Tools of the type '{tool.get('type')}' are not supported.", param=place)
        raise InvalidRequest(f"Missing required parameter: '{place}.function'.", param=f"{place}.function")
    function = tool["function"]
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"Missing required parameter: '{place}.function.name'.", param=f"{place}.function.name")
    if not _NAME.fullmatch(name):
        message = f"'{place}.function.name' must begin with a letter or an underscore for this provider."
        raise UnsupportedFeature(message, param=f"{place}.function.name")
    written: Json = {"name": name}
    if function.get("description"):
        written["description"] = function["description"]
    parameters = function.get("parameters")
    if parameters:
        where = f"{place}.function.parameters"
        try:
            written["parametersJsonSchema"] = {"type": "object", **clean_schema(parameters)}
        except NoSchema:
            raise InvalidRequest(f"Invalid value for '{where}': this is no JSON Schema.", param=where) from None
    return written


def _choice(choice: Any) -> tuple[str, list[str] | None]:
    """The mode, and the only functions it allows where it names some."""
    if choice is None:
        return "AUTO", None
    if isinstance(choice, str) and choice in _MODES:
        return _MODES[choice], None
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function" and (names := _names([choice])):
        return "ANY", names
    if kind == "allowed_tools" and isinstance(choice.get("allowed_tools"), dict):
        allowed = choice["allowed_tools"]
        names = _names(allowed.get("tools"))
        if names:
            return "ANY" if allowed.get("mode") == "required" else "AUTO", names
    raise InvalidRequest(
        "Invalid value for 'tool_choice': expected none, auto, required, or an object naming a function.",
        param="tool_choice",
    )


def _names(tools: Any) -> list[str]:
    """Of functions that are referred to, each once."""
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    names = (function.get("name") for function in functions if isinstance(function, dict))
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))
