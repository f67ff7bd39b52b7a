"""``tools``, ``tool_choice`` and ``parallel_tool_calls``: https://docs.aws.amazon.com/bedrock/latest/userguide/tool-use.html"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from extproc.dialects.blocks.schema import Inexpressible, guaranteed_schema, tool_schema
from extproc.dialects.blocks.tool_reading import Choice, choice_without_tools, read_choice, read_function
from extproc.dialects.converse.blocks import BlockWriter
from extproc.dialects.converse.models import Model
from extproc.errors import InvalidRequest, UnsupportedFeature

Json = dict[str, Any]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROOT: Final = ("type", "properties", "required")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """``config`` is ``toolConfig``; ``native`` goes into Claude's own fields: what Converse has no word for."""

    config: Json | None = None
    native: Json = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    forced: bool = False
    """Whether the model must call a tool."""


def encode_tools(fields: Mapping[str, Any], model: Model, used: Iterable[str], writer: BlockWriter) -> Tools:
    """``used`` names the tools that were called in the conversation. Raises InvalidRequest and UnsupportedFeature."""
    choice, called = read_choice(fields.get("tool_choice")), tuple(used)
    given = fields.get("tools") or []
    if not isinstance(given, list):
        raise InvalidRequest("Invalid type for 'tools': expected an array.", param="tools")
    if not given and choice.forced:
        raise choice_without_tools()
    if choice.kind == "none" and not called:
        # Not to be called, and not called before: as if there were none.
        return Tools()
    dropped: set[str] = set()
    tools: list[Json] = []
    for index, tool in enumerate(given):
        blocks = _tool(tool, f"tools[{index}]", model, dropped, writer)
        if choice.allowed is None or blocks[0]["toolSpec"]["name"] in choice.allowed:
            tools += blocks
    if not tools:
        return _past(called, model)
    forced = choice.forced
    if forced and not (model.forces_one_tool if choice.kind == "tool" else model.forces_any_tool):
        if choice.allowed is None:
            raise UnsupportedFeature("This model cannot be made to call a tool.", param="tool_choice")
        choice, forced = Choice(kind="auto"), False
        dropped.add("tool_choice")
    native = _native(choice, fields.get("parallel_tool_calls"), model, dropped)
    config: Json = {"tools": tools}
    if forced and not native:
        config["toolChoice"] = {choice.kind: {} if choice.name is None else {"name": choice.name}}
    return Tools(config=config, native=native, dropped=tuple(sorted(dropped)), forced=forced)


def _past(called: tuple[str, ...], model: Model) -> Tools:
    """The provider wants a definition of tools that were called before, also where none may be called any more."""
    if not called:
        return Tools()
    if model.claude is None:
        raise UnsupportedFeature(
            "This model needs the definitions of the tools that were called before: send 'tools'.", param="tools"
        )
    known = [{"toolSpec": {"name": name, "inputSchema": {"json": tool_schema(None)}}} for name in called]
    return Tools(config={"tools": known}, native={"tool_choice": {"type": "none"}})


def _native(choice: Choice, parallel: Any, model: Model, dropped: set[str]) -> Json:
    """Claude's own ``tool_choice``, in place of Converse's, where that cannot say it."""
    alone = parallel is False and choice.kind != "none"
    if choice.kind != "none" and not alone:
        return {}
    if model.claude is None:
        if choice.kind == "none":
            raise UnsupportedFeature(
                "This model cannot be kept from calling tools that it has called before.", param="tool_choice"
            )
        dropped.add("parallel_tool_calls")
        return {}
    written: Json = {"type": choice.kind}
    if choice.kind == "tool":
        written["name"] = choice.name
    if alone:
        written["disable_parallel_tool_use"] = True
    return {"tool_choice": written}


def _tool(tool: Any, place: str, model: Model, dropped: set[str], writer: BlockWriter) -> list[Json]:
    function = read_function(tool, place)
    written: Json = {"name": _checked_name(function["name"], place)}
    description = function.get("description")
    if isinstance(description, str) and description.strip():
        written["description"] = description
    schema = _schema(function.get("parameters"), f"{place}.function.parameters", model)
    if function.get("strict"):
        try:
            if not model.structured:
                raise Inexpressible  # noqa: TRY301 - one way out for the model's and the schema's limits
            schema = guaranteed_schema(schema | {"additionalProperties": False})
            written["strict"] = True
        except Inexpressible:
            dropped.add("tools.strict")
    written["inputSchema"] = {"json": schema}
    return [{"toolSpec": written}, *writer.mark_tool(tool if tool.get("cache_control") else function)]


def _checked_name(name: str, place: str) -> str:
    if not _NAME.fullmatch(name):
        where = f"{place}.function.name"
        raise InvalidRequest(
            f"Invalid value for '{where}': expected up to 64 letters, digits, underscores or hyphens.", param=where
        )
    return name


def _schema(parameters: Any, where: str, model: Model) -> Json:
    try:
        schema = tool_schema(parameters)
    except (TypeError, ValueError):
        raise InvalidRequest(f"Invalid value for '{where}': this is no JSON Schema.", param=where) from None
    return {name: schema[name] for name in _ROOT if name in schema} if model.plain_schema else schema
