"""POST /chat/completions, whole and streamed: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.fakes.replies.example import example_of
from tests.fakes.replies.persona import Call
from tests.fakes.replies.wording import pieces, said_by, text_of, tokens_in, usage
from tests.fakes.steps import DONE, Json, Reply, event, event_reply, json_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of the function ``name``; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str

    @property
    def fragments(self) -> tuple[str, ...]:
        """The arguments as a stream sends them: three fragments at least, where there are three characters."""
        size = max(1, min(8, len(self.arguments) // 3))
        return tuple(self.arguments[start : start + size] for start in range(0, len(self.arguments), size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the ``n`` answers: text in ``pieces``, or tool calls."""

    index: int
    pieces: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"

    @property
    def tokens(self) -> int:
        """What it counts as, without reasoning."""
        return len(self.pieces) + sum(len(call.fragments) for call in self.tool_calls)


def answer(call: Call) -> Reply:
    """The reply to a checked request."""
    choices = [_choice(call, index) for index in range(call.body.get("n") or 1)]
    prompt_tokens = sum(4 + tokens_in(text_of(message.get("content"))) for message in call.body["messages"])
    used = usage(prompt_tokens, sum(choice.tokens for choice in choices))
    return _streamed(call, choices, used) if call.wants_stream else _whole(call, choices, used)


def _choice(call: Call, index: int) -> Choice:
    body = call.body
    messages = body["messages"]
    asked = next((text_of(message.get("content")) for message in reversed(messages) if message["role"] == "user"), "")
    wanted = int(found[1]) if (found := re.search(r"\[loop=(\d+)\]", asked)) else 1
    rounds = sum(bool(message.get("tool_calls")) for message in messages)
    if messages[-1]["role"] == "tool" and (rounds >= wanted or not body.get("tools")):
        text = f"{call.persona.name} read {_tool_results(messages)}"
    elif body.get("tools") and body.get("tool_choice") != "none":
        return Choice(index=index, tool_calls=_tool_calls(call, asked, index), finish_reason="tool_calls")
    else:
        text = _text(call, asked)
    if index > 0:
        text += f" (choice {index + 1})"
    spoken = Choice(index=index, pieces=pieces(text))
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(spoken.pieces)
    return (
        replace(spoken, pieces=spoken.pieces[:limit], finish_reason="length") if limit < len(spoken.pieces) else spoken
    )


def _text(call: Call, asked: str) -> str:
    wanted = call.body.get("response_format") or {}
    spoken = said_by(call.persona.name, asked)
    if wanted.get("type") == "json_schema":
        return json.dumps(example_of(wanted["json_schema"].get("schema", {}), spoken), ensure_ascii=False)
    if wanted.get("type") == "json_object":
        return json.dumps({"answer": spoken}, ensure_ascii=False)
    return spoken


def _tool_results(messages: list[Json]) -> str:
    results = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.append(f"{message['tool_call_id']}: {text_of(message['content'])}")
    return "; ".join(reversed(results))


def _tool_calls(call: Call, asked: str, index: int) -> tuple[ToolCall, ...]:
    functions = {
        tool["function"]["name"]: tool["function"] for tool in call.body["tools"] if tool.get("type") == "function"
    }
    names = list(functions)
    choice = call.body.get("tool_choice")
    if isinstance(choice, dict):
        names = [choice["function"]["name"]]
    if "[parallel]" in asked and call.body.get("parallel_tool_calls") is not False:
        names = (names * 2)[:2]
    else:
        names = names[:1]
    return tuple(
        ToolCall(
            id=f"call_{call.fingerprint[:20]}{index}{position}",
            name=name,
            arguments=json.dumps(example_of(functions[name].get("parameters", {}), asked[:80]), ensure_ascii=False),
        )
        for position, name in enumerate(names)
    )


def _whole(call: Call, choices: list[Choice], used: Json) -> Reply:
    return json_reply(
        {
            **call.header("chatcmpl", "chat.completion"),
            "choices": [_whole_choice(choice) for choice in choices],
            "usage": used,
            "service_tier": "default",
            "system_fingerprint": call.system_fingerprint,
        }
    )


def _whole_choice(choice: Choice) -> Json:
    message: Json = {"role": "assistant", "content": "".join(choice.pieces) if not choice.tool_calls else None}
    if choice.tool_calls:
        message["tool_calls"] = [
            {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}}
            for tool in choice.tool_calls
        ]
    message |= {"refusal": None, "annotations": []}
    return {"index": choice.index, "message": message, "logprobs": None, "finish_reason": choice.finish_reason}


def _streamed(call: Call, choices: list[Choice], used: Json) -> Reply:
    header = call.header("chatcmpl", "chat.completion.chunk")
    header |= {"service_tier": "default", "system_fingerprint": call.system_fingerprint}
    without_usage = {"usage": None} if call.wants_usage else {}
    deltas = [{**header, "choices": [part], **without_usage} for choice in choices for part in _deltas(choice)]
    if call.wants_usage:
        deltas.append({**header, "choices": [], "usage": used})
    return event_reply(*map(event, deltas), DONE)


def _deltas(choice: Choice) -> Iterator[Json]:
    """The choice's part of each chunk: the role, the content piece by piece, the end."""
    yield _delta(choice, {"role": "assistant", "content": None if choice.tool_calls else "", "refusal": None})
    for piece in choice.pieces:
        yield _delta(choice, {"content": piece})
    for position, tool in enumerate(choice.tool_calls):
        opening = {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": ""}}
        yield _delta(choice, {"tool_calls": [{"index": position, **opening}]})
        for fragment in tool.fragments:
            yield _delta(choice, {"tool_calls": [{"index": position, "function": {"arguments": fragment}}]})
    yield _delta(choice, {}, choice.finish_reason)


def _delta(choice: Choice, delta: Json, finish_reason: str | None = None) -> Json:
    return {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
