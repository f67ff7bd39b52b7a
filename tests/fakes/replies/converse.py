"""Converse and ConverseStream, whole and streamed: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.fakes import event_stream
from tests.fakes.replies.example import example_of
from tests.fakes.replies.messages import signature
from tests.fakes.replies.persona import Call
from tests.fakes.replies.wording import REASONING_TOKENS, pieces, said_by, tokens_in
from tests.fakes.steps import Framing, Json, Reply, Send, compact, json_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The answer: ``blocks`` and why it ended. A user's ``[loop=3]`` asks for three rounds of tool calls."""

    blocks: list[Json]
    stop_reason: str
    input_tokens: int

    @property
    def usage(self) -> Json:
        """One for each piece of text, some for each thought and call; five more were read from a cache or written."""
        texts = [str(block["text"]) for block in self.blocks if "text" in block]
        output = sum(len(pieces(text)) for text in texts) + REASONING_TOKENS * (len(self.blocks) - len(texts))
        return {
            "inputTokens": self.input_tokens,
            "outputTokens": output,
            "totalTokens": self.input_tokens + output + 5,
            "cacheReadInputTokens": 2,
            "cacheWriteInputTokens": 3,
        }


def answer(call: Call, *, stream: bool) -> Reply:
    """The reply to a checked request."""
    said = _said(call)
    if stream:
        return binary_reply(*(event_stream.event(kind, compact(payload)) for kind, payload in _events(said)))
    message = {"message": {"role": "assistant", "content": said.blocks}}
    return json_reply(
        {"output": message, "stopReason": said.stop_reason, "usage": said.usage, "metrics": {"latencyMs": 5}}
    )


def binary_reply(*messages: bytes) -> Reply:
    """A streamed reply of whole messages."""
    return Reply(
        status=200,
        headers=(("content-type", "application/vnd.amazon.eventstream"),),
        body=tuple(Send(message) for message in messages),
        framing=Framing.CHUNKED,
    )


def _said(call: Call) -> Said:
    messages: list[Json] = call.body["messages"]
    blocks = [block for message in messages if message["role"] == "user" for block in message["content"]]
    asked = " ".join(str(block["text"]) for block in blocks if "text" in block)
    results = [block["toolResult"] for block in blocks if "toolResult" in block]
    rounds = sum(any("toolUse" in block for block in message["content"]) for message in messages)
    wanted = int(found[1]) if (found := re.search(r"\[loop=(\d+)\]", asked)) else 1
    native = call.body.get("additionalModelRequestFields", {})
    said: list[Json] = []
    if native.get("thinking", {}).get("type") in {"enabled", "adaptive"}:
        thought = f"round {rounds} of {wanted}"
        said.append({"reasoningContent": {"reasoningText": {"text": thought, "signature": signature(thought)}}})
    may_call = call.body.get("toolConfig") and native.get("tool_choice", {}).get("type") != "none"
    if may_call and rounds < wanted:
        said += _calls(call, asked, rounds)
        return Said(blocks=said, stop_reason="tool_use", input_tokens=4 * len(messages) + tokens_in(asked))
    said.append({"text": _text(call, asked, results, blocks)})
    return Said(blocks=said, stop_reason="end_turn", input_tokens=4 * len(messages) + tokens_in(asked))


def _text(call: Call, asked: str, results: list[Json], blocks: list[Json]) -> str:
    wanted = call.body.get("outputConfig", {}).get("textFormat")
    if wanted is not None:
        schema = json.loads(wanted["structure"]["jsonSchema"]["schema"])
        return json.dumps(example_of(schema, asked), ensure_ascii=False)
    if results:
        texts = ["".join(str(part.get("text", "")) for part in result["content"]) for result in results]
        return f"{call.persona.name} read " + "; ".join(texts)
    images = sum("image" in block for block in blocks)
    return said_by(call.persona.name, asked) + (f" [{images} image]" if images else "")


def _calls(call: Call, asked: str, rounds: int) -> Iterator[Json]:
    specs = [tool["toolSpec"] for tool in call.body["toolConfig"]["tools"] if "toolSpec" in tool]
    choice = call.body["toolConfig"].get("toolChoice", {})
    native = call.body.get("additionalModelRequestFields", {}).get("tool_choice", {})
    if "tool" in choice:
        specs = [spec for spec in specs if spec["name"] == choice["tool"]["name"]]
    parallel = "[parallel]" in asked and not native.get("disable_parallel_tool_use")
    for position, spec in enumerate((specs * 2)[: 2 if parallel else 1]):
        identifier = f"tooluse_{call.fingerprint[:16]}{rounds}{position}"
        arguments = example_of(spec["inputSchema"]["json"], asked[:40])
        yield {"toolUse": {"toolUseId": identifier, "name": spec["name"], "input": arguments}}


def _events(said: Said) -> Iterator[tuple[str, Json]]:
    yield "messageStart", {"role": "assistant"}
    for index, block in enumerate(said.blocks):
        if "toolUse" in block:
            start = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
            yield "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": start}}
        for delta in _deltas(block):
            # Padding, as the real one adds it.
            yield "contentBlockDelta", {"contentBlockIndex": index, "delta": delta, "p": "abcdefghijk"[: index + 3]}
        yield "contentBlockStop", {"contentBlockIndex": index}
    yield "messageStop", {"stopReason": said.stop_reason}
    yield "metadata", {"usage": said.usage, "metrics": {"latencyMs": 5}}


def _deltas(block: Json) -> Iterator[Json]:
    match block:
        case {"text": text}:
            yield from ({"text": piece} for piece in pieces(text))
        case {"reasoningContent": {"reasoningText": thought}}:
            yield from ({"reasoningContent": {"text": piece}} for piece in pieces(thought["text"]))
            yield {"reasoningContent": {"signature": thought["signature"]}}
        case {"toolUse": use}:
            text = json.dumps(use["input"], ensure_ascii=False)
            yield from ({"toolUse": {"input": text[start : start + 7]}} for start in range(0, len(text), 7))
