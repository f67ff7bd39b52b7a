"""POST /chat/completions as Mistral answers it: https://docs.mistral.ai/api.

Ids of nine characters, thoughts among the content, tool calls whole and without a number, usage in the last chunk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.fakes.replies import chat
from tests.fakes.replies.persona import Call
from tests.fakes.replies.wording import pieces
from tests.fakes.steps import DONE, Json, Reply, Send, event, event_reply, json_reply


def answer(call: Call) -> Reply:
    """The reply to a checked request."""
    whole = Call(persona=call.persona, body={**call.body, "stream": False}, asked=call.asked)
    (sent,) = chat.answer(whole).body
    assert isinstance(sent, Send)
    document = _own_form(json.loads(sent.payload), call)
    return event_reply(*map(event, _chunks(document)), DONE) if call.wants_stream else json_reply(document)


def _own_form(document: Json, call: Call) -> Json:
    for choice in document["choices"]:
        message = choice["message"]
        calls = [_tool_call(tool, call, position) for position, tool in enumerate(message.get("tool_calls") or ())]
        content: Any = message["content"] or ""
        if call.body.get("reasoning_effort") not in {None, "none"}:
            thoughts = [{"type": "text", "text": f"thinking with {call.body['reasoning_effort']} effort"}]
            content = [
                {"type": "thinking", "thinking": thoughts},
                *([{"type": "text", "text": content}] * bool(content)),
            ]
        choice["message"] = {"role": "assistant", "content": content, "tool_calls": calls or None}
        del choice["logprobs"]
    for name in ("service_tier", "system_fingerprint"):
        document.pop(name)
    document["usage"] = {name: count for name, count in document["usage"].items() if isinstance(count, int)}
    return document


def _tool_call(tool: Json, call: Call, position: int) -> Json:
    return {"id": f"{call.fingerprint[:8]}{position}", "function": tool["function"]}


def _chunks(document: Json) -> Iterator[Json]:
    head = {name: document[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def chunk(choice: Json, delta: Json, finish: str | None = None) -> Json:
        return {**head, "choices": [{"index": choice["index"], "delta": delta, "finish_reason": finish}], "p": "abc"}

    for choice in document["choices"]:
        message = choice["message"]
        yield chunk(choice, {"role": "assistant", "content": ""})
        content = message["content"]
        for part in [content] if isinstance(content, str) else content:
            if isinstance(part, dict) and part["type"] == "thinking":
                for piece in pieces(part["thinking"][0]["text"]):
                    thought = {"type": "thinking", "thinking": [{"type": "text", "text": piece}]}
                    yield chunk(choice, {"content": [thought]})
                continue
            for piece in pieces(part if isinstance(part, str) else part["text"]):
                yield chunk(choice, {"content": piece})
        calls = {"tool_calls": message["tool_calls"]} if message["tool_calls"] else {}
        last = chunk(choice, {"content": "", **calls}, choice["finish_reason"])
        yield {**last, "usage": document["usage"]}
