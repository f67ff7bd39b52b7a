"""Cohere's stream → chat completion chunks: https://docs.cohere.com/docs/streaming"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from extproc.dialects.base import GarbledReply, StreamState
from extproc.dialects.cohere.errors import error
from extproc.dialects.cohere.response import cited_pages, finish_reason, read_usage, tool_call
from extproc.framing.sse import Event, encode_event
from extproc.openai.call import Call
from extproc.openai.usage import usage_fields

Json = dict[str, Any]

_DONE: Final = encode_event(b"[DONE]")
_MARK: Final = b"[DONE]"


class CohereStream:
    """The StreamTranslator of ``POST /v2/chat``. Nothing counts as an event before the first content."""

    __slots__ = ("_call", "_calls", "_head", "_written", "state")

    def __init__(self, call: Call) -> None:
        self.state = StreamState()
        self._call = call
        self._head = b""
        self._calls: dict[Any, int] = {}
        """By the provider's index of a tool call, which counts other things too: its place among the calls."""
        self._written: set[int] = set()

    def event(self, event: Event) -> bytes:
        """Raises UpstreamError for an end that is a failure, GarbledReply for what the format does not allow."""
        if self.state.complete or not event.data or event.data == _MARK:
            return b""
        try:
            fields = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            fields = None
        if not isinstance(fields, dict):
            raise GarbledReply("The provider's stream has an event that is not a JSON object.")
        kind = fields.get("type")
        if kind is None and isinstance(fields.get("message"), str):
            raise error(500, fields["message"])
        act = _ACTS.get(kind) if isinstance(kind, str) else None
        if act is None:
            return b""
        try:
            return act(self, fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error_in_shape:
            raise GarbledReply("The provider's stream has an event of an unexpected shape.") from error_in_shape

    def close(self) -> bytes:
        """The answer is whole with its own last event, and not before."""
        return b""

    def _begin(self, fields: Json) -> bytes:
        # Written once: the rest of every chunk follows it.
        head = {
            "id": fields.get("id"),
            "object": "chat.completion.chunk",
            "created": self._call.created,
            "model": self._call.model,
        }
        self._head = orjson.dumps(head)[:-1] + b',"choices":['
        return self._chunk({"role": "assistant", "content": ""})

    def _content(self, fields: Json) -> bytes:
        content: Json = fields["delta"]["message"]["content"]
        if content.get("thinking"):
            return self._say({"reasoning_content": str(content["thinking"])})
        return self._say({"content": str(content["text"])}) if content.get("text") else b""

    def _plan(self, fields: Json) -> bytes:
        plan = fields["delta"]["message"]["tool_plan"]
        return self._say({"content": str(plan)}) if plan else b""

    def _begin_call(self, fields: Json) -> bytes:
        index = len(self._calls)
        self._calls[fields["index"]] = index
        opening = tool_call(fields["delta"]["message"]["tool_calls"])
        if opening["function"]["arguments"]:
            self._written.add(index)
        return self._say({"tool_calls": [{"index": index, **opening}]})

    def _continue_call(self, fields: Json) -> bytes:
        fragment = str(fields["delta"]["message"]["tool_calls"]["function"]["arguments"])
        return self._arguments(self._calls[fields["index"]], fragment) if fragment else b""

    def _end_call(self, fields: Json) -> bytes:
        index = self._calls[fields["index"]]
        return b"" if index in self._written else self._arguments(index, "{}")

    def _cite(self, fields: Json) -> bytes:
        cited = cited_pages(fields["delta"]["message"]["citations"])
        return self._say({"annotations": cited}) if cited else b""

    def _end(self, fields: Json) -> bytes:
        delta: Json = fields.get("delta") or {}
        finish = finish_reason(delta.get("finish_reason"), delta.get("error"))
        self.state.usage = read_usage(delta.get("usage"))
        last = self._say({}, finish)
        self.state.complete = True
        if not self._call.include_usage or self.state.usage is None:
            return last + _DONE
        usage = orjson.dumps(usage_fields(self.state.usage) | self.state.beside_usage(self.state.usage))
        return last + encode_event(self._head + b'],"usage":' + usage + b"}") + _DONE

    def _arguments(self, index: int, fragment: str) -> bytes:
        self._written.add(index)
        return self._say({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]})

    def _say(self, delta: Json, finish: str | None = None) -> bytes:
        chunk = self._chunk(delta, finish)
        self.state.produced.add_said(delta)
        self.state.events += 1
        return chunk

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        if not self._head:
            raise GarbledReply("The provider's stream does not begin with 'message-start'.")
        choice = orjson.dumps({"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish})
        return encode_event(self._head + choice + b"]}")


_ACTS: Final[Mapping[str, Callable[[CohereStream, Json], bytes]]] = {
    "message-start": CohereStream._begin,  # noqa: SLF001 - the table of this class's own acts
    "content-start": CohereStream._content,  # noqa: SLF001 - as above
    "content-delta": CohereStream._content,  # noqa: SLF001 - as above
    "tool-plan-delta": CohereStream._plan,  # noqa: SLF001 - as above
    "tool-call-start": CohereStream._begin_call,  # noqa: SLF001 - as above
    "tool-call-delta": CohereStream._continue_call,  # noqa: SLF001 - as above
    "tool-call-end": CohereStream._end_call,  # noqa: SLF001 - as above
    "citation-start": CohereStream._cite,  # noqa: SLF001 - as above
    "message-end": CohereStream._end,  # noqa: SLF001 - as above
}
