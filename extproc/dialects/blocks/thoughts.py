"""Thinking blocks on their way through a client: packed into the id of the tool call that follows, and unpacked again.

"Thinking blocks must be passed back unmodified and in their original order":
https://platform.claude.com/docs/en/build-with-claude/extended-thinking#preserving-thinking-blocks
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from extproc.dialects.blocks.models import same_model
from extproc.openai.tool_call_id import carried, carry

DIALECT: Final = "anthropic"
DETAILS_FORMAT: Final = "anthropic-claude-v1"
Block = dict[str, Any]


class Thoughts:
    """What a reply has thought since its last tool call, and how many characters of text stood in between."""

    __slots__ = ("_items", "_model")

    def __init__(self, model: str) -> None:
        self._model = model
        self._items: list[list[str] | str | int] = []

    def think(self, block: Mapping[str, Any]) -> None:
        """A whole thinking or redacted_thinking block."""
        if block["type"] == "redacted_thinking":
            self._items.append(str(block.get("data", "")))
        else:
            self._items.append([str(block.get("thinking", "")), str(block.get("signature", ""))])

    def write(self, text: str) -> None:
        """Text for the client."""
        if self._items and isinstance(self._items[-1], int):
            self._items[-1] += len(text)
        else:
            self._items.append(len(text))

    def call_id(self, identifier: str) -> str:
        """The id for the client of a tool call that follows; it takes the thoughts along."""
        items, self._items = self._items, []
        while items and isinstance(items[-1], int):
            items.pop()
        if not items:
            return identifier
        return carry(identifier, DIALECT, orjson.dumps([self._model, *items]))


def thoughts_of(identifier: str, model: str) -> list[Block | int]:
    """The blocks and text lengths in a tool call's id; none where another model thought them: this one refuses them."""
    payload = carried(identifier, DIALECT)
    try:
        parsed = orjson.loads(payload) if payload else None
    except orjson.JSONDecodeError:
        return []
    if not isinstance(parsed, list) or not parsed or not same_model(str(parsed[0]), model):
        return []
    return [block for item in parsed[1:] if (block := _block(item)) is not None]


def detailed_thoughts(details: Any) -> Iterator[Block]:
    """The blocks in ``reasoning_details``, for clients that send that field back.

    https://openrouter.ai/docs/use-cases/reasoning-tokens
    """
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict) or detail.get("format") != DETAILS_FORMAT:
            continue
        if detail.get("type") == "reasoning.encrypted":
            yield {"type": "redacted_thinking", "data": str(detail.get("data", ""))}
        elif detail.get("signature"):
            yield _thinking(str(detail.get("text", "")), str(detail["signature"]))


def detail(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block as an item of ``reasoning_details``."""
    if block["type"] == "redacted_thinking":
        return {"type": "reasoning.encrypted", "data": block.get("data", ""), "format": DETAILS_FORMAT}
    text, signature = block.get("thinking", ""), block.get("signature", "")
    return {"type": "reasoning.text", "text": text, "signature": signature, "format": DETAILS_FORMAT}


def _block(item: Any) -> Block | int | None:
    if isinstance(item, int):
        return item
    if isinstance(item, str):
        return {"type": "redacted_thinking", "data": item}
    if isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return _thinking(*item)
    return None


def _thinking(text: str, signature: str) -> Block:
    return {"type": "thinking", "thinking": text, "signature": signature}
