"""A chat answer as OpenAI writes it: the whole object, or the same as chunks.

https://platform.openai.com/docs/api-reference/chat/object and https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import orjson

from extproc.providers.demo.chat.tool_calls import ToolCall
from extproc.providers.demo.envelope import Envelope, event_stream, part_id, usage_fields
from extproc.providers.demo.tokens import deltas

_INPUTS: Final = {"function": "arguments", "custom": "input"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer of a reply: ``text``, None where there are ``calls`` instead."""

    text: str | None
    calls: tuple[ToolCall, ...]
    finish_reason: str


def chat_body(choices: Sequence[Choice], envelope: Envelope) -> bytes:
    """The whole reply."""
    written = [
        {
            "index": index,
            "message": _message(choice, envelope, index),
            "logprobs": None,
            "finish_reason": choice.finish_reason,
        }
        for index, choice in enumerate(choices)
    ]
    fields = envelope.fields("chat.completion")
    return orjson.dumps({**fields, "choices": written, "usage": usage_fields(envelope.usage)})


def chat_stream(choices: Sequence[Choice], envelope: Envelope, *, include_usage: bool) -> bytes:
    """The reply as a stream: every choice's role, then the choices' words in turn, as they would grow side by side."""
    streams = [
        [_chunk(index, delta) for delta in _deltas(choice, envelope, index)] for index, choice in enumerate(choices)
    ]
    chunks = [chunk for turn in zip_longest(*streams) for chunk in turn if chunk is not None]
    chunks += [_chunk(index, {}, choice.finish_reason) for index, choice in enumerate(choices)]
    return event_stream(chunks, envelope, "chat.completion.chunk", include_usage=include_usage)


def _message(choice: Choice, envelope: Envelope, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
    if choice.calls:
        message["tool_calls"] = [
            {"id": part_id("call_", envelope.id, index, position), **_call(call, call.input)}
            for position, call in enumerate(choice.calls)
        ]
    return message


def _deltas(choice: Choice, envelope: Envelope, index: int) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if choice.text is None else "", "refusal": None}
    for part in deltas(choice.text or ""):
        yield {"content": part}
    for position, call in enumerate(choice.calls):
        call_id = part_id("call_", envelope.id, index, position)
        yield {"tool_calls": [{"index": position, "id": call_id, **_call(call, "")}]}
        for part in deltas(call.input):
            yield {"tool_calls": [{"index": position, call.kind: {_INPUTS[call.kind]: part}}]}


def _call(call: ToolCall, text: str) -> dict[str, Any]:
    return {"type": call.kind, call.kind: {"name": call.name, _INPUTS[call.kind]: text}}


def _chunk(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}
