"""What the self-test asks: one small call of each kind, and calls that need a feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_SCHEMA: Final = {
    "type": "object",
    "properties": {"well": {"type": "string"}},
    "required": ["well"],
    "additionalProperties": False,
}
_TOOL: Final = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": _SCHEMA}}
_FORMAT: Final = {"type": "json_schema", "json_schema": {"name": "state", "schema": _SCHEMA, "strict": True}}
_PIXEL: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
)
_PAGE: Final = "data:application/pdf;base64,JVBERi0xLjQKJSVFT0YK"
_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "tools": {"tools": [_TOOL]},
    "forced_tool": {"tools": [_TOOL], "tool_choice": "required"},
    "json_schema": {"response_format": _FORMAT},
    "reasoning": {"reasoning_effort": "low"},
}
_PARTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "images": {"type": "image_url", "image_url": {"url": _PIXEL}},
    "files": {"type": "file", "file": {"filename": "page.pdf", "file_data": _PAGE}},
    "audio": {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
}
CHAT: Final = "/chat/completions"
COMPLETIONS: Final = "/completions"
EMBEDDINGS: Final = "/embeddings"
NEEDS: Final = ("tools", "forced_tool", "json_schema", "images")
"""Features without which a call means something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a call has beside its model and its prompt. ``caller`` is the name of a key of the run."""

    operation: str = CHAT
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    uses: tuple[str, ...] = ()
    words: int = 0
    """How many more the prompt is to have."""
    caller: str | None = None

    def body(self, model: str, prompt: str, *, stream: bool) -> dict[str, Any]:
        """As it is sent."""
        text = prompt + " word" * self.words
        streamed = {} if self.operation == EMBEDDINGS else {"stream": stream}
        used = {name: value for use in self.uses for name, value in _FIELDS.get(use, {}).items()}
        return {"model": model, **self._prompt(text), **streamed, **used, **self.fields}

    def _prompt(self, text: str) -> dict[str, Any]:
        if self.operation == EMBEDDINGS:
            return {"input": text}
        if self.operation == COMPLETIONS:
            return {"prompt": text}
        parts = [_PARTS[use] for use in self.uses if use in _PARTS]
        content = [{"type": "text", "text": text}, *parts] if parts else text
        return {"messages": [{"role": "user", "content": content}]}


def example_of(pattern: str) -> str:
    """A name that a route's name or glob stands for."""
    return pattern.replace("*", "selftest").replace("?", "x")


def backends_of(route: Mapping[str, Any]) -> tuple[str, ...]:
    """Every backend that a route names, as it is written: default, rules, fallback."""
    rules = [ref for rule in route.get("rules") or () for ref in rule.get("backends") or ()]
    names = [ref["name"] for ref in (route["defaultBackend"], *rules)]
    return tuple(dict.fromkeys([*names, *((route.get("fallback") or {}).get("backends") or ())]))
