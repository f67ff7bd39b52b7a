"""What a chat request uses beyond plain text, so that a dialect can say of each thing what becomes of it.

The fields are those of https://platform.openai.com/docs/api-reference/chat/create. A field at a value that asks for
nothing (``n: 1``, ``logprobs: false``, null) is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


class Support(StrEnum):
    """What a dialect does with a feature."""

    MAPPED = "mapped"
    """Written in the provider's own way."""
    PASSED = "passed"
    """Sent as it came."""
    DROPPED = "dropped"
    """Left out, and named in ``x-kortex-dropped-params``: a knob, not a meaning."""
    REFUSED = "refused"
    """Leaving it out would change what is asked: the backend is not eligible."""


# Top-level fields, by the value that asks for nothing. A field of the API that is not here is a feature when present.
_NEUTRAL: Final[Mapping[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "n": lambda value: value == 1,
        "logprobs": lambda value: value is False,
        "frequency_penalty": lambda value: value == 0,
        "presence_penalty": lambda value: value == 0,
        "logit_bias": lambda value: value == {},
        "stop": lambda value: value == [],
        "tools": lambda value: value == [],
        "functions": lambda value: value == [],
        "metadata": lambda value: value == {},
        "store": lambda value: value is False,
        "modalities": lambda value: value == ["text"],
        "service_tier": lambda value: value in ("auto", "default"),
        "response_format": lambda value: isinstance(value, dict) and value.get("type") == "text",
        "stream": lambda value: True,  # noqa: ARG005 - every dialect streams
        "stream_options": lambda value: True,  # noqa: ARG005 - the gateway's own business
        "model": lambda value: True,  # noqa: ARG005 - not a feature
        "messages": lambda value: True,  # noqa: ARG005 - looked into below
    }
)


def used_features(fields: Mapping[str, Any]) -> frozenset[str]:
    """The names of what a chat request uses.

    Top-level fields by their name; of those with kinds also the kind, as in ``response_format.json_schema``,
    ``tools.custom``, ``tools.strict`` and ``tool_choice.required``; content by ``content.image_url`` (an address),
    ``content.image_s3`` (one in Amazon S3), ``content.image_data``,
    ``content.input_audio``, ``content.file_data``, ``content.file_id`` and so on; and
    ``content.detail`` (of an image), ``messages.name``, ``messages.cache_control``, ``tool_messages``.
    """
    return frozenset((*_top_level(fields), *_tools(fields), *_messages(fields.get("messages"))))


def _top_level(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        neutral = _NEUTRAL.get(name)
        if value is None or (neutral is not None and neutral(value)):
            continue
        yield name
        if name == "response_format" and isinstance(value, dict):
            yield f"response_format.{value.get('type')}"
        elif name == "tool_choice":
            yield f"tool_choice.{value.get('type') if isinstance(value, dict) else value}"


def _tools(fields: Mapping[str, Any]) -> Iterator[str]:
    tools = fields.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict):
            continue
        yield f"tools.{tool.get('type')}"
        function = tool.get("function")
        if isinstance(function, dict) and function.get("strict"):
            yield "tools.strict"
        if tool.get("cache_control"):
            yield "messages.cache_control"


def _messages(messages: object) -> Iterator[str]:
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        if message.get("role") == "tool":
            yield "tool_messages"
        if message.get("name"):
            yield "messages.name"
        if message.get("cache_control"):
            yield "messages.cache_control"
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                yield from _part(part)


def _part(part: Mapping[str, Any]) -> Iterator[str]:
    kind = part.get("type")
    if part.get("cache_control"):
        yield "messages.cache_control"
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if isinstance(image, dict) and image.get("detail") not in (None, "auto"):
            yield "content.detail"
        scheme = str(url).partition(":")[0]
        yield {"data": "content.image_data", "s3": "content.image_s3"}.get(scheme, "content.image_url")
    elif kind == "file":
        file = part.get("file")
        yield "content.file_id" if isinstance(file, dict) and file.get("file_id") else "content.file_data"
    elif kind != "text":
        yield f"content.{kind}"


def support_for(feature: str, table: Mapping[str, Support]) -> Support:
    """What a dialect with this table does with a feature; an empty table passes everything.

    A field nobody has heard of is a knob; an unknown kind of content, tool or choice is a meaning.
    """
    if not table:
        return Support.PASSED
    return table.get(feature) or (Support.REFUSED if "." in feature else Support.DROPPED)
