"""Small changes inside messages and tools, for servers that do not know a part of them. The client's value stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

Json = dict[str, Any]


def system_for_developer(fields: Json) -> Json:
    """``developer`` is OpenAI's newer word for ``system``: https://model-spec.openai.com/2025-02-12.html#definitions"""

    def renamed(message: Json) -> Json:
        return {**message, "role": "system"} if message.get("role") == "developer" else message

    return _messages(fields, renamed)


def tools_by_choice(fields: Json) -> Json:
    """For servers without ``tool_choice``: "none" is to have no tools, "auto" is what they do anyway."""
    if fields.get("tool_choice") == "none":
        return {name: value for name, value in fields.items() if name not in {"tools", "tool_choice"}}
    return _without(fields, "tool_choice")


def _without_names(fields: Json) -> Json:
    return _messages(fields, lambda message: _without(message, "name"))


def _without_marks(fields: Json) -> Json:
    """No ``cache_control``: https://platform.claude.com/docs/en/build-with-claude/prompt-caching"""

    def unmarked(message: Json) -> Json:
        return _parts(_without(message, "cache_control"), lambda part: _without(part, "cache_control"))

    return _tools(_messages(fields, unmarked), lambda tool: _without(tool, "cache_control"))


def _without_detail(fields: Json) -> Json:
    def plain(part: Json) -> Json:
        image = part.get("image_url")
        return {**part, "image_url": _without(image, "detail")} if isinstance(image, dict) else part

    return _messages(fields, lambda message: _parts(message, plain))


def _without_strict(fields: Json) -> Json:
    def lenient(tool: Json) -> Json:
        function = tool.get("function")
        return {**tool, "function": _without(function, "strict")} if isinstance(function, dict) else tool

    return _tools(fields, lenient)


NESTED: Final[Mapping[str, Callable[[Json], Json]]] = MappingProxyType(
    {
        "messages.name": _without_names,
        "messages.cache_control": _without_marks,
        "content.detail": _without_detail,
        "tools.strict": _without_strict,
    }
)
"""How a feature that is no top-level field is left out of a body's fields."""


def each(items: Any, change: Callable[[Json], Json]) -> Any:
    """The list with its objects changed; the same list where none was."""
    if not isinstance(items, list):
        return items
    changed = [change(item) if isinstance(item, dict) else item for item in items]
    return items if _same(changed, items) else changed


def _same(new: Iterable[Any], old: Iterable[Any]) -> bool:
    return all(one is other for one, other in zip(new, old, strict=True))


def _messages(fields: Json, change: Callable[[Json], Json]) -> Json:
    return _field(fields, "messages", change)


def _tools(fields: Json, change: Callable[[Json], Json]) -> Json:
    return _field(fields, "tools", change)


def _field(fields: Json, name: str, change: Callable[[Json], Json]) -> Json:
    given = fields.get(name)
    changed = each(given, change)
    return fields if changed is given else {**fields, name: changed}


def _parts(message: Json, change: Callable[[Json], Json]) -> Json:
    content = message.get("content")
    changed = each(content, change)
    return message if changed is content else {**message, "content": changed}


def _without(value: Json, key: str) -> Json:
    return {name: item for name, item in value.items() if name != key} if key in value else value
