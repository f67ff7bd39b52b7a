"""A whole answer's blocks → the assistant's message: https://platform.openai.com/docs/api-reference/chat/object"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from extproc.dialects.blocks.thoughts import Thoughts, detail

Json = dict[str, Any]
Annotate = Callable[[Any, int, int], Json | None]
"""A citation of the text between two characters → an annotation; None where OpenAI has no place for it."""

THINKING: Final = frozenset({"thinking", "redacted_thinking"})


def assistant_message(blocks: Iterable[Json], model: str, refused: str | None, annotate: Annotate) -> Json:
    """``refused`` is the sentence for ``refusal``. ``model`` is the provider's name for who thought the thoughts."""
    thoughts = Thoughts(model)
    text = ""
    reasoning: list[str] = []
    details: list[Json] = []
    calls: list[Json] = []
    annotations: list[Json] = []
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            start, text = len(text), text + str(block.get("text", ""))
            thoughts.write(text[start:])
            found = (annotate(citation, start, len(text)) for citation in block.get("citations") or ())
            annotations += [cited for cited in found if cited]
        elif kind in THINKING:
            thoughts.think(block)
            reasoning.append(str(block.get("thinking", "")))
            details.append(detail(block))
        elif kind == "tool_use":
            identifier = thoughts.call_id(str(block.get("id", "")))
            calls.append(tool_call(block, identifier, arguments_text(block.get("input"))))
    written: Json = {"role": "assistant", "content": text if text or not (calls or refused) else None}
    written["refusal"] = refused
    if any(reasoning):
        written["reasoning_content"] = "".join(reasoning)
    if details:
        written["reasoning_details"] = details
    if calls:
        written["tool_calls"] = calls
    if annotations:
        written["annotations"] = annotations
    return written


def tool_call(block: Mapping[str, Any], identifier: str, arguments: str) -> Json:
    """A ``tool_use`` block as one of ``tool_calls``."""
    function = {"name": block.get("name", ""), "arguments": arguments}
    return {"id": identifier, "type": "function", "function": function}


def arguments_text(value: Any) -> str:
    """A tool's input as JSON text; integers of any length stay what they are."""
    return json.dumps(value or {}, ensure_ascii=False, separators=(",", ":"))
