"""POST /v2/chat, whole and streamed, and POST /v2/embed: https://docs.cohere.com/reference/chat and embed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.fakes.replies import embeddings
from tests.fakes.replies.example import example_of
from tests.fakes.replies.persona import Call
from tests.fakes.replies.wording import pieces, said_by, text_of, tokens_in
from tests.fakes.steps import Json, Reply, Send, compact, event_reply, json_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The answer. A user's ``[loop=3]`` asks for three rounds of tool calls."""

    thinking: str
    plan: str
    text: str
    calls: list[Json]
    usage: Json

    @property
    def finish_reason(self) -> str:
        """Why it ended."""
        return "TOOL_CALL" if self.calls else "COMPLETE"


def answer(call: Call) -> Reply:
    """The reply to a checked request."""
    said = _said(call)
    return event_reply(*map(_event, _events(call, said))) if call.body.get("stream") else json_reply(_whole(call, said))


def embed(call: Call) -> Reply:
    """Vectors as OpenAI's fake makes them, in Cohere's form."""
    (kind,) = call.body["embedding_types"]
    asked = {"input": call.body["texts"], "model": call.body["model"], "dimensions": call.body.get("output_dimension")}
    asked["encoding_format"] = kind
    (sent,) = embeddings.answer(Call(persona=call.persona, body=asked, asked=call.asked)).body
    assert isinstance(sent, Send)
    made = json.loads(sent.payload)
    tokens = {"input_tokens": made["usage"]["prompt_tokens"]}
    vectors = [item["embedding"] for item in made["data"]]
    meta = {"api_version": {"version": "2"}, "billed_units": tokens}
    return json_reply(
        {
            "id": call.fingerprint[:36],
            "response_type": "embeddings_by_type",
            "embeddings": {kind: vectors},
            "texts": call.body["texts"],
            "meta": meta,
        }
    )


def _said(call: Call) -> Said:
    messages: list[Json] = call.body["messages"]
    asked = " ".join(text_of(message["content"]) for message in messages if message["role"] == "user").strip()
    rounds = sum(bool(message.get("tool_calls")) for message in messages)
    wanted = int(found[1]) if (found := re.search(r"\[loop=(\d+)\]", asked)) else 1
    thinks = call.body.get("thinking", {}).get("type") == "enabled"
    calls: list[Json] = []
    if call.body.get("tools") and call.body.get("tool_choice") != "NONE" and rounds < wanted:
        calls = list(_calls(call, asked, rounds))
    text = "" if calls else _text(call, asked)
    made = len(pieces(text)) + 5 * len(calls)
    given = 4 * len(messages) + tokens_in(asked)
    return Said(
        thinking=f"round {rounds} of {wanted}" if thinks else "",
        plan=f"plan {rounds}" if calls else "",
        text=text,
        calls=calls,
        usage={
            "billed_units": {"input_tokens": given, "output_tokens": made},
            "tokens": {"input_tokens": given + 190, "output_tokens": made + 2},
        },
    )


def _text(call: Call, asked: str) -> str:
    wanted = call.body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        return json.dumps(example_of(wanted.get("json_schema", {}), asked), ensure_ascii=False)
    results = [text_of(message["content"]) for message in call.body["messages"] if message["role"] == "tool"]
    return f"{call.persona.name} read {'; '.join(results)}" if results else said_by(call.persona.name, asked)


def _calls(call: Call, asked: str, rounds: int) -> Iterator[Json]:
    functions = [tool["function"] for tool in call.body["tools"]]
    for position, function in enumerate((functions * 2)[: 2 if "[parallel]" in asked else 1]):
        arguments = json.dumps(example_of(function["parameters"], asked[:40]), ensure_ascii=False)
        identifier = f"{function['name']}_{call.fingerprint[:8]}{rounds}{position}"
        yield {"id": identifier, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _whole(call: Call, said: Said) -> Json:
    message: Json = {"role": "assistant"}
    content = [{"type": "thinking", "thinking": said.thinking}] if said.thinking else []
    content += [{"type": "text", "text": said.text}] if said.text else []
    if content:
        message["content"] = content
    if said.calls:
        message |= {"tool_plan": said.plan, "tool_calls": said.calls}
    return {"id": call.fingerprint[:36], "message": message, "finish_reason": said.finish_reason, "usage": said.usage}


def _event(document: Json) -> Send:
    return Send(b"event: " + document["type"].encode() + b"\ndata: " + compact(document) + b"\n\n")


def _events(call: Call, said: Said) -> Iterator[Json]:
    opening = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield {"id": call.fingerprint[:36], "type": "message-start", "delta": {"message": opening}}
    index = 0
    for kind, text in (("thinking", said.thinking), ("text", said.text)):
        if not text:
            continue
        yield _delta("content-start", {"content": {"type": kind, kind: ""}}, index)
        for piece in pieces(text):
            yield _delta("content-delta", {"content": {kind: piece}}, index)
        yield {"type": "content-end", "index": index}
        index += 1
    for piece in pieces(said.plan):
        yield _delta("tool-plan-delta", {"tool_plan": piece})
    for position, tool in enumerate(said.calls):
        arguments = tool["function"]["arguments"]
        empty = {**tool, "function": {**tool["function"], "arguments": ""}}
        yield _delta("tool-call-start", {"tool_calls": empty}, position)
        for start in range(0, len(arguments), 7):
            fragment = {"function": {"arguments": arguments[start : start + 7]}}
            yield _delta("tool-call-delta", {"tool_calls": fragment}, position)
        yield {"type": "tool-call-end", "index": position}
    yield {"type": "message-end", "delta": {"finish_reason": said.finish_reason, "usage": said.usage}}


def _delta(kind: str, message: Json, index: int | None = None) -> Json:
    place = {} if index is None else {"index": index}
    return {"type": kind, **place, "delta": {"message": message}}
