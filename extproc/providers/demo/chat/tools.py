"""The tools of a chat request, and which of them the model is to call, may call or must not call.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.errors import InvalidRequest
from extproc.providers.demo.request_fields import (
    LONGEST_NAME,
    a_boolean,
    a_string,
    an_array,
    an_object,
    one_of,
    required,
    wrong_type,
)
from extproc.providers.demo.tokens import count_tokens

_KINDS: Final = ("function", "custom")
_MOST_TOOLS: Final = 128
_MODES: Final = ("none", "auto", "required")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool. ``parameters`` is a function's JSON Schema, None for a custom tool; ``path`` says where it stands."""

    kind: str
    name: str
    description: str
    parameters: Mapping[str, Any] | None
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """``tools`` may be called; ``forced``: one must be; ``parallel``: several may be; ``tokens`` are those of all."""

    tools: tuple[Tool, ...]
    forced: bool
    parallel: bool
    tokens: int


def read_toolbox(fields: Mapping[str, Any]) -> Toolbox:
    """Read ``tools``, ``tool_choice`` and ``parallel_tool_calls``. Raises InvalidRequest."""
    given, choice, parallel = fields.get("tools"), fields.get("tool_choice"), fields.get("parallel_tool_calls")
    tools: tuple[Tool, ...] = ()
    if given is not None:
        listed = an_array(given, "tools", "objects", longest=_MOST_TOOLS)
        tools = tuple(_read_tool(tool, f"tools[{index}]") for index, tool in enumerate(listed))
    elif choice is not None:
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise InvalidRequest(message, param="tool_choice")
    allowed, mode = _allowed(tools, "auto" if choice is None else choice)
    return Toolbox(
        tools=() if mode == "none" else allowed,
        forced=mode == "required",
        parallel=parallel is None or a_boolean(parallel, "parallel_tool_calls"),
        tokens=count_tokens(orjson.dumps(given).decode()) if tools else 0,
    )


def _read_tool(value: object, path: str) -> Tool:
    fields = an_object(value, path)
    kind = one_of(required(fields, "type", path), f"{path}.type", _KINDS)
    path = f"{path}.{kind}"
    tool = an_object(required(fields, kind, path.rpartition(".")[0]), path)
    description, parameters = tool.get("description"), tool.get("parameters")
    return Tool(
        kind=kind,
        name=a_string(required(tool, "name", path), f"{path}.name", longest=LONGEST_NAME),
        description="" if description is None else a_string(description, f"{path}.description"),
        parameters=_read_parameters(parameters, f"{path}.parameters") if kind == "function" else None,
        path=path,
    )


def _read_parameters(value: object, path: str) -> Mapping[str, Any]:
    return {} if value is None else an_object(value, path)


def _allowed(tools: tuple[Tool, ...], choice: object) -> tuple[tuple[Tool, ...], str]:
    """The tools that ``tool_choice`` leaves, and its mode."""
    if isinstance(choice, str):
        return tools, one_of(choice, "tool_choice", _MODES)
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "one of a string or object", choice)
    kind = one_of(required(choice, "type", "tool_choice"), "tool_choice.type", (*_KINDS, "allowed_tools"))
    if kind != "allowed_tools":
        return (_named(tools, choice, "tool_choice"),), "required"
    path = "tool_choice.allowed_tools"
    fields = an_object(required(choice, "allowed_tools", "tool_choice"), path)
    mode = one_of(required(fields, "mode", path), f"{path}.mode", _MODES[1:])
    named = an_array(required(fields, "tools", path), f"{path}.tools", "objects")
    return tuple(_named(tools, tool, f"{path}.tools[{index}]") for index, tool in enumerate(named)), mode


def _named(tools: tuple[Tool, ...], value: object, path: str) -> Tool:
    """The tool meant by ``{"type": "function", "function": {"name": …}}``."""
    fields = an_object(value, path)
    kind = one_of(required(fields, "type", path), f"{path}.type", _KINDS)
    inside = an_object(required(fields, kind, path), f"{path}.{kind}")
    name = a_string(required(inside, "name", f"{path}.{kind}"), f"{path}.{kind}.name", longest=LONGEST_NAME)
    for tool in tools:
        if (tool.kind, tool.name) == (kind, name):
            return tool
    message = f"Invalid value for 'tool_choice': tool choice '{name}' not found in 'tools' parameter."
    raise InvalidRequest(message, param="tool_choice")
