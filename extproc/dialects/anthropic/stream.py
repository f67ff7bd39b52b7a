"""Anthropic's stream → chat completion chunks: https://platform.claude.com/docs/en/build-with-claude/streaming"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from extproc.dialects.anthropic.errors import in_band_error
from extproc.dialects.anthropic.response import (
    THINKING,
    add_counts,
    annotation,
    arguments_text,
    finish_reason,
    read_counts,
    refusal,
    tool_call,
)
from extproc.dialects.anthropic.thoughts import Thoughts, detail
from extproc.dialects.base import GarbledReply, StreamState
from extproc.framing.sse import Event, encode_event
from extproc.openai.call import Call
from extproc.openai.usage import usage_fields

Json = dict[str, Any]

_DONE: Final = encode_event(b"[DONE]")


@dataclass(slots=True, kw_only=True)
class _Block:
    """A content block under way. ``index`` is a tool call's place among the calls."""

    fields: Json
    kind: str
    index: int = 0
    start: int = 0
    written: bool = False
    citations: list[Any] = field(default_factory=list)


class AnthropicStream:
    """The StreamTranslator of the Messages API.

    Nothing counts as an event before the first content: an overloaded provider may still say so after its
    ``message_start``, and then the next backend is asked.
    """

    __slots__ = ("_blocks", "_call", "_calls", "_counts", "_finished", "_head", "_length", "_thoughts", "state")

    def __init__(self, call: Call) -> None:
        self.state = StreamState()
        self._call = call
        self._head = b""
        self._blocks: dict[Any, _Block] = {}
        self._calls = 0
        self._length = 0
        self._counts: dict[str, int] = {}
        self._thoughts = Thoughts(call.model)
        self._finished = False

    def event(self, event: Event) -> bytes:
        """Raises UpstreamError for an error event, GarbledReply for what the format does not allow."""
        if self.state.complete or not event.data:
            return b""
        try:
            fields = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            fields = None
        if not isinstance(fields, dict):
            raise GarbledReply("The provider's stream has an event that is not a JSON object.")
        error = in_band_error(fields)
        if error is not None:
            raise error
        # Event types that are not known are to be passed over: https://platform.claude.com/docs/en/api/versioning
        act = _ACTS.get(str(fields.get("type")))
        if act is None:
            return b""
        try:
            return act(self, fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error_in_shape:
            raise GarbledReply("The provider's stream has an event of an unexpected shape.") from error_in_shape

    def close(self) -> bytes:
        """Some servers end without ``message_stop``; with a stop reason the answer is whole all the same."""
        return b"" if self.state.complete or not self._finished else self._end({})

    def _begin(self, fields: Json) -> bytes:
        message: Json = fields["message"]
        model = message.get("model")
        if isinstance(model, str):
            self.state.model = model
            self._thoughts = Thoughts(model)
        self._count(message.get("usage"))
        # Written once: the rest of every chunk follows it.
        head = {
            "id": message.get("id"),
            "object": "chat.completion.chunk",
            "created": self._call.created,
            "model": self._call.model,
        }
        self._head = orjson.dumps(head)[:-1] + b',"choices":['
        return self._chunk({"role": "assistant", "content": ""})

    def _begin_block(self, fields: Json) -> bytes:
        self.state.events += 1
        given: Json = fields["content_block"]
        block = _Block(fields=dict(given), kind=str(given["type"]), start=self._length)
        self._blocks[fields["index"]] = block
        if block.kind == "text" and given.get("text"):
            return self._text(given["text"])
        if block.kind == "thinking" and given.get("thinking"):
            return self._chunk({"reasoning_content": given["thinking"]})
        if block.kind != "tool_use":
            return b""
        block.index = self._calls
        self._calls += 1
        opening = tool_call(given, self._thoughts.call_id(str(given["id"])), "")
        return self._chunk({"tool_calls": [{"index": block.index, **opening}]})

    def _continue_block(self, fields: Json) -> bytes:
        block = self._blocks[fields["index"]]
        delta: Json = fields["delta"]
        match delta["type"]:
            case "text_delta":
                return self._text(delta["text"])
            case "input_json_delta":
                return self._arguments(block, delta["partial_json"])
            case "thinking_delta":
                block.fields["thinking"] = block.fields.get("thinking", "") + delta["thinking"]
                return self._chunk({"reasoning_content": delta["thinking"]}) if delta["thinking"] else b""
            case "signature_delta":
                block.fields["signature"] = block.fields.get("signature", "") + delta["signature"]
            case "citations_delta":
                block.citations.append(delta["citation"])
        return b""

    def _end_block(self, fields: Json) -> bytes:
        block = self._blocks.pop(fields["index"])
        if block.kind in THINKING:
            self._thoughts.think(block.fields)
            return self._chunk({"reasoning_details": [detail(block.fields)]})
        if block.kind == "tool_use" and not block.written:
            return self._arguments(block, arguments_text(block.fields.get("input")))
        found = (annotation(citation, block.start, self._length) for citation in block.citations)
        annotations = [cited for cited in found if cited]
        return self._chunk({"annotations": annotations}) if annotations else b""

    def _finish(self, fields: Json) -> bytes:
        self.state.events += 1
        self._count(fields.get("usage"))
        delta: Mapping[str, Any] = fields["delta"]
        reason = delta.get("stop_reason")
        if reason is None or self._finished:
            return b""
        self._finished = True
        refused = refusal(delta)
        said = self._chunk({"refusal": refused}) if refused else b""
        return said + self._chunk({}, finish_reason(reason))

    def _end(self, _fields: Json) -> bytes:
        if not self._finished:
            return b""
        self.state.complete = True
        if not self._call.include_usage or self.state.usage is None:
            return _DONE
        usage = orjson.dumps(usage_fields(self.state.usage) | self.state.beside_usage(self.state.usage))
        return encode_event(self._head + b'],"usage":' + usage + b"}") + _DONE

    def _count(self, usage: Any) -> None:
        add_counts(self._counts, usage)
        self.state.usage = read_counts(self._counts)

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        self._length += len(text)
        self._thoughts.write(text)
        return self._chunk({"content": text})

    def _arguments(self, block: _Block, fragment: str) -> bytes:
        # A server tool's input is not for the client, who never called it.
        if block.kind != "tool_use" or not fragment:
            return b""
        block.written = True
        return self._chunk({"tool_calls": [{"index": block.index, "function": {"arguments": fragment}}]})

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        if not self._head:
            raise GarbledReply("The provider's stream does not begin with 'message_start'.")
        self.state.produced.add_said(delta)
        choice = orjson.dumps({"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish})
        return encode_event(self._head + choice + b"]}")


_ACTS: Final[Mapping[str, Callable[[AnthropicStream, Json], bytes]]] = {
    "message_start": AnthropicStream._begin,  # noqa: SLF001 - the table of this class's own acts
    "content_block_start": AnthropicStream._begin_block,  # noqa: SLF001 - as above
    "content_block_delta": AnthropicStream._continue_block,  # noqa: SLF001 - as above
    "content_block_stop": AnthropicStream._end_block,  # noqa: SLF001 - as above
    "message_delta": AnthropicStream._finish,  # noqa: SLF001 - as above
    "message_stop": AnthropicStream._end,  # noqa: SLF001 - as above
}
