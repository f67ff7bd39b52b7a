"""What the self-test asks: one small call of each kind, and calls that need a feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_SCHEMA: Final = {
    "type": "object",
    "properties": {"well": {"type": "string"}},
    "required": ["well"],
    "additionalProperties": False,
}
_PIXEL: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
)
CHAT: Final = "/chat/completions"
EMBEDDINGS: Final = "/embeddings"
NEEDS: Final = ("tools", "forced_tool", "json_schema", "images")
"""Features without which a call means something else."""


def body(path: str, model: str, prompt: str, *, stream: bool) -> dict[str, Any]:
    """A small call."""
    if path == EMBEDDINGS:
        return {"model": model, "input": prompt}
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": stream}


def body_that_needs(feature: str, model: str, prompt: str) -> dict[str, Any]:
    """A small whole chat call that uses one of ``NEEDS``."""
    plain = body(CHAT, model, prompt, stream=False)
    match feature:
        case "tools" | "forced_tool":
            function = {"name": "look", "description": "Looks.", "parameters": _SCHEMA}
            forced = {"tool_choice": "required"} if feature == "forced_tool" else {}
            return {**plain, "tools": [{"type": "function", "function": function}], **forced}
        case "json_schema":
            schema = {"name": "state", "schema": _SCHEMA, "strict": True}
            return {**plain, "response_format": {"type": "json_schema", "json_schema": schema}}
        case _:
            parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": _PIXEL}}]
            return {**plain, "messages": [{"role": "user", "content": parts}]}


def example_of(pattern: str) -> str:
    """A name that a route's name or glob stands for."""
    return pattern.replace("*", "selftest").replace("?", "x")


def backends_of(route: Mapping[str, Any]) -> tuple[str, ...]:
    """Every backend that a route names, as it is written: default, rules, fallback."""
    rules = [ref for rule in route.get("rules") or () for ref in rule.get("backends") or ()]
    names = [ref["name"] for ref in (route["defaultBackend"], *rules)]
    return tuple(dict.fromkeys([*names, *((route.get("fallback") or {}).get("backends") or ())]))
