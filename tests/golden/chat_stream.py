"""A streamed chat answer put together again as clients do it, checked on the way for what breaks them."""

from __future__ import annotations

import json
from typing import Any

import orjson


def put_together(stream: bytes) -> dict[str, Any]:
    """The whole completion that the chunks of a stream amount to; fails where a chunk is not what clients accept.

    The arguments of tool calls are read, as ``with_arguments_read`` does.
    """
    blocks = stream.decode().split("\n\n")
    assert blocks.pop() == "", "the stream ends in the middle of an event"
    data = [block.removeprefix("data: ") for block in blocks]
    assert data.pop() == "[DONE]"
    chunks = [orjson.loads(text) for text in data]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    whole = {name: chunks[0][name] for name in ("id", "created", "model")}
    message: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    finish = None
    tokens: list[Any] = []
    for position, chunk in enumerate(chunks):
        assert {name: chunk[name] for name in whole} == whole, "id, date and model are the same in every chunk"
        assert chunk["object"] == "chat.completion.chunk"
        if not chunk["choices"]:
            assert position == len(chunks) - 1, "only the last chunk has no choices"
            continue
        (choice,) = chunk["choices"]
        assert finish is None, "nothing follows the finish reason"
        finish = choice["finish_reason"]
        _add(message, choice["delta"])
        tokens += (choice["logprobs"] or {}).get("content", ())
    for call in message.get("tool_calls", ()):
        call.pop("index")
    if not message["content"] and (message.get("tool_calls") or message["refusal"]):
        message["content"] = None
    whole |= {"object": "chat.completion", "usage": chunks[-1].get("usage")}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    choice["logprobs"] = {"content": tokens, "refusal": None} if tokens else None
    return with_arguments_read({**whole, "choices": [choice]})


def with_arguments_read(completion: dict[str, Any]) -> dict[str, Any]:
    """The completion with values for the JSON texts of arguments, whose white space may differ."""
    for call in completion["choices"][0]["message"].get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return completion


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        match name:
            case "role":
                continue
            case "tool_calls":
                _add_calls(message.setdefault("tool_calls", []), value)
            case "annotations" | "reasoning_details" | "images":
                message.setdefault(name, []).extend(value)
            case _:
                message[name] = (message.get(name) or "") + value


def _add_calls(calls: list[dict[str, Any]], parts: list[dict[str, Any]]) -> None:
    for part in parts:
        if part["index"] == len(calls):
            assert part["id"], "a call begins with its id"
            assert part["function"]["name"], "and with its function's name"
            calls.append(part)
        else:
            calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
