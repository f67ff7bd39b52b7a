"""Anthropic's stream → chat completion chunks: https://platform.claude.com/docs/en/build-with-claude/streaming"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from extproc.dialects.anthropic.errors import in_band_error
from extproc.dialects.anthropic.response import (
    add_counts,
    annotation,
    finish_reason,
    read_counts,
    refusal,
    service_tier,
)
from extproc.dialects.base import GarbledReply, StreamState
from extproc.dialects.blocks.stream import BlockStream
from extproc.framing.sse import Event
from extproc.openai.call import Call

Json = dict[str, Any]


class AnthropicStream:
    """The StreamTranslator of the Messages API."""

    __slots__ = ("_call", "_chunks", "_counts", "state")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._chunks = BlockStream(call, annotation)
        self._counts: dict[str, int] = {}
        self.state: StreamState = self._chunks.state

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
        return b"" if self.state.complete else self._chunks.end()

    def _begin(self, fields: Json) -> bytes:
        message: Json = fields["message"]
        model = message.get("model")
        if isinstance(model, str):
            self.state.model = model
        self._count(message.get("usage"))
        return self._chunks.begin(message.get("id"), self.state.model or self._call.model)

    def _begin_block(self, fields: Json) -> bytes:
        return self._chunks.begin_block(fields["index"], fields["content_block"])

    def _continue_block(self, fields: Json) -> bytes:
        key = fields["index"]
        delta: Json = fields["delta"]
        match delta["type"]:
            case "text_delta":
                return self._chunks.text(delta["text"])
            case "input_json_delta":
                return self._chunks.arguments(key, delta["partial_json"])
            case "thinking_delta":
                return self._chunks.thought(key, "thinking", delta["thinking"])
            case "signature_delta":
                self._chunks.thought(key, "signature", delta["signature"])
            case "citations_delta":
                self._chunks.cite(key, delta["citation"])
        return b""

    def _end_block(self, fields: Json) -> bytes:
        return self._chunks.end_block(fields["index"])

    def _finish(self, fields: Json) -> bytes:
        self._count(fields.get("usage"))
        delta: Mapping[str, Any] = fields["delta"]
        reason = delta.get("stop_reason")
        if reason is None:
            self.state.events += 1
            return b""
        return self._chunks.finish(finish_reason(reason), refusal(delta))

    def _end(self, _fields: Json) -> bytes:
        return self._chunks.end()

    def _count(self, usage: Any) -> None:
        add_counts(self._counts, usage)
        self.state.service_tier = service_tier(usage) or self.state.service_tier
        self.state.usage = read_counts(self._counts)


_ACTS: Final[Mapping[str, Callable[[AnthropicStream, Json], bytes]]] = {
    "message_start": AnthropicStream._begin,  # noqa: SLF001 - the table of this class's own acts
    "content_block_start": AnthropicStream._begin_block,  # noqa: SLF001 - as above
    "content_block_delta": AnthropicStream._continue_block,  # noqa: SLF001 - as above
    "content_block_stop": AnthropicStream._end_block,  # noqa: SLF001 - as above
    "message_delta": AnthropicStream._finish,  # noqa: SLF001 - as above
    "message_stop": AnthropicStream._end,  # noqa: SLF001 - as above
}
