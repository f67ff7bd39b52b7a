"""Which tools the demo model calls, and with what.

Where a tool must be called, or may be and the user's text speaks of it, it is called: every tool whose name shares a
word with the text, else the first whose description does, else (when one must be called) the first of all. Without
``parallel_tool_calls`` it is one call, with them eight at most. Arguments are a value that the function's JSON Schema
allows; a custom tool gets the user's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import orjson

from extproc.errors import InvalidRequest
from extproc.providers.demo.chat.tools import Tool, Toolbox
from extproc.providers.demo.json_schema import NoValue, write_value
from extproc.providers.demo.tokens import count_tokens, first_tokens, words

_READ: Final = 10_000
"""Characters of a text in which tools are looked for, and that a custom tool is given."""
_SHORTEST: Final = 3
_MOST_CALLS: Final = 8
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_EMPTY_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        """about all and any are call can current does for from function get give given has have how into its let list
        make not one our out please return run set should some take tell than that the their then there this tool use
        user value want was what when where which who why will with would you your""",
    )
)
"""Words that say nothing about a tool, in names and descriptions as in questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call: ``input`` is the arguments as JSON text, or what a custom tool is given."""

    kind: str
    name: str
    input: str

    @property
    def tokens(self) -> int:
        """The name's and the input's."""
        return count_tokens(self.name) + count_tokens(self.input)


def choose_calls(toolbox: Toolbox, text: str) -> tuple[ToolCall, ...]:
    """The calls for what the user wrote; none when the answer is to be a text.

    Raises InvalidRequest when nothing fits a function's parameters.
    """
    chosen = _mentioned(toolbox.tools, text)
    if not chosen and toolbox.forced:
        chosen = toolbox.tools[:1]
    return tuple(_call(tool, text) for tool in chosen[: _MOST_CALLS if toolbox.parallel else 1])


def cut_calls(calls: tuple[ToolCall, ...], limit: int | None) -> tuple[ToolCall, ...]:
    """The calls as far as ``limit`` tokens go: the last one's input may end in the middle, as a real model's would."""
    if limit is None:
        return calls
    cut: list[ToolCall] = []
    for call in calls:
        left = limit - count_tokens(call.name)
        if left < 0:
            break
        text = first_tokens(call.input, left)
        cut.append(ToolCall(kind=call.kind, name=call.name, input=text))
        limit = left - count_tokens(text)
    return tuple(cut)


def _mentioned(tools: tuple[Tool, ...], text: str) -> tuple[Tool, ...]:
    asked = _meaning(text[:_READ])
    named = tuple(tool for tool in tools if not asked.isdisjoint(_meaning(tool.name)))
    if named:
        return named
    described = (tool for tool in tools if not asked.isdisjoint(_meaning(tool.description[:_READ])))
    return tuple(described)[:1]


def _meaning(text: str) -> set[str]:
    """The words that say something, singular and plural alike."""
    found = words(_HUMP.sub(" ", text).replace("_", " "))
    return {word.removesuffix("s") for word in found if len(word) >= _SHORTEST and word not in _EMPTY_WORDS}


def _call(tool: Tool, text: str) -> ToolCall:
    if tool.parameters is None:
        return ToolCall(kind=tool.kind, name=tool.name, input=text[:_READ])
    try:
        arguments = write_value(tool.parameters, text)
    except NoValue as problem:
        message = f"Invalid schema for function '{tool.name}': {problem}."
        raise InvalidRequest(message, param=f"{tool.path}.parameters") from None
    return ToolCall(kind=tool.kind, name=tool.name, input=orjson.dumps(arguments).decode())
