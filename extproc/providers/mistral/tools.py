"""Tools as Mistral takes them: it wants to be told the parameters of a function that has none."""

from __future__ import annotations

from typing import Any, Final

from extproc.dialects.openai_compatible import each

Json = dict[str, Any]

_NO_PARAMETERS: Final = {"type": "object", "properties": {}}


def complete_tools(fields: Json) -> Json:
    """https://docs.mistral.ai/capabilities/function_calling"""
    given = fields.get("tools")
    tools = each(given, _complete)
    return fields if tools is given else {**fields, "tools": tools}


def _complete(tool: Json) -> Json:
    function = tool.get("function")
    if not isinstance(function, dict) or function.get("parameters") is not None:
        return tool
    return {**tool, "function": {**function, "parameters": _NO_PARAMETERS}}
