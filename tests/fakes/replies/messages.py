"""POST /v1/messages, whole and streamed: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.fakes.replies.example import example_of
from tests.fakes.replies.persona import Call
from tests.fakes.replies.wording import REASONING_TOKENS, pieces, said_by, text_of, tokens_in
from tests.fakes.steps import Json, Reply, Send, compact, event_reply, json_reply


def signature(thinking: str) -> str:
    """What shows that a thought is this fake's own."""
    return hashlib.sha256(b"fake" + thinking.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The answer: ``blocks`` and why it ended. A user's ``[loop=3]`` asks for three rounds of tool calls."""

    blocks: list[Json]
    stop_reason: str
    input_tokens: int

    @property
    def output_tokens(self) -> int:
        """One for each piece of text, and some for each thought and call."""
        texts = [str(block["text"]) for block in self.blocks if block["type"] == "text"]
        return sum(len(pieces(text)) for text in texts) + REASONING_TOKENS * (len(self.blocks) - len(texts))


def answer(call: Call) -> Reply:
    """The reply to a checked request."""
    said = _said(call)
    return event_reply(*map(_event, _events(call, said))) if call.wants_stream else json_reply(_message(call, said))


def _said(call: Call) -> Said:
    messages: list[Json] = call.body["messages"]
    asked = " ".join(text_of(message["content"]) for message in messages if message["role"] == "user").strip()
    results = [
        block
        for message in messages
        if message["role"] == "user" and isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
    rounds = sum(any(block["type"] == "tool_use" for block in _list(message)) for message in messages)
    wanted = int(found[1]) if (found := re.search(r"\[loop=(\d+)\]", asked)) else 1
    blocks: list[Json] = []
    if call.body.get("thinking", {}).get("type") in {"enabled", "adaptive"}:
        thought = f"round {rounds} of {wanted}"
        blocks.append({"type": "thinking", "thinking": thought, "signature": signature(thought)})
    may_call = call.body.get("tools") and call.body.get("tool_choice", {}).get("type") != "none"
    if may_call and rounds < wanted:
        blocks += _calls(call, asked, rounds)
        stop_reason = "tool_use"
    else:
        blocks.append({"type": "text", "text": _text(call, asked, results)})
        stop_reason = "end_turn"
    return Said(blocks=blocks, stop_reason=stop_reason, input_tokens=4 * len(messages) + tokens_in(asked))


def _list(message: Json) -> list[Json]:
    content = message["content"]
    return content if isinstance(content, list) else []


def _text(call: Call, asked: str, results: list[Json]) -> str:
    wanted = call.body.get("output_config", {}).get("format")
    if wanted is not None:
        return json.dumps(example_of(wanted["schema"], asked), ensure_ascii=False)
    if results:
        return f"{call.persona.name} read " + "; ".join(text_of(block.get("content", "")) for block in results)
    images = sum(block["type"] == "image" for message in call.body["messages"] for block in _list(message))
    seen = f" [{images} image]" if images else ""
    return said_by(call.persona.name, asked) + seen


def _calls(call: Call, asked: str, rounds: int) -> Iterator[Json]:
    tools: list[Json] = call.body["tools"]
    choice = call.body.get("tool_choice", {})
    names = [choice["name"]] if choice.get("type") == "tool" else [tool["name"] for tool in tools]
    parallel = "[parallel]" in asked and not choice.get("disable_parallel_tool_use")
    schemas = {tool["name"]: tool["input_schema"] for tool in tools}
    for position, name in enumerate((names * 2)[: 2 if parallel else 1]):
        identifier = f"toolu_{call.fingerprint[:16]}{rounds}{position}"
        arguments = example_of(schemas[name], asked[:40])
        yield {"type": "tool_use", "id": identifier, "name": name, "input": arguments}


def _head(call: Call, said: Said) -> Json:
    return {
        "id": f"msg_{call.fingerprint[:24]}",
        "type": "message",
        "role": "assistant",
        "model": call.persona.model_in_replies(call.body["model"]),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": said.input_tokens,
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 2,
            "output_tokens": 1,
        },
    }


def _message(call: Call, said: Said) -> Json:
    head = _head(call, said)
    usage = {**head["usage"], "output_tokens": said.output_tokens}
    return {**head, "content": said.blocks, "stop_reason": said.stop_reason, "usage": usage}


def _event(document: Json) -> Send:
    return Send(b"event: " + document["type"].encode() + b"\ndata: " + compact(document) + b"\n\n")


def _events(call: Call, said: Said) -> Iterator[Json]:
    yield {"type": "message_start", "message": _head(call, said)}
    yield {"type": "ping"}
    for index, block in enumerate(said.blocks):
        yield {"type": "content_block_start", "index": index, "content_block": _opening(block)}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": said.stop_reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": said.output_tokens}}
    yield {"type": "message_stop"}


def _opening(block: Json) -> Json:
    empty: Json = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {name: empty.get(name, value) for name, value in block.items()}


def _deltas(block: Json) -> Iterator[Json]:
    match block["type"]:
        case "text":
            yield from ({"type": "text_delta", "text": piece} for piece in pieces(block["text"]))
        case "thinking":
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"]))
            yield {"type": "signature_delta", "signature": block["signature"]}
        case _:
            text = json.dumps(block["input"], ensure_ascii=False)
            yield {"type": "input_json_delta", "partial_json": ""}
            for start in range(0, len(text), 7):
                yield {"type": "input_json_delta", "partial_json": text[start : start + 7]}
