"""ConverseStream's events → chat completion chunks.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html#API_runtime_ConverseStream_ResponseSyntax
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from extproc.dialects.aws_errors import error_from_event
from extproc.dialects.base import GarbledReply, StreamState
from extproc.dialects.blocks.stream import BlockStream
from extproc.dialects.converse.response import (
    annotation,
    completion_id,
    finish_reason,
    read_usage,
    service_tier,
    tool_use,
)
from extproc.framing.sse import Event
from extproc.openai.call import Call

Json = dict[str, Any]


class ConverseStream:
    """The StreamTranslator of ConverseStream."""

    __slots__ = ("_call", "_chunks", "_cut", "state")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._chunks = BlockStream(call, annotation)
        self._cut = False
        self.state: StreamState = self._chunks.state

    def event(self, event: Event) -> bytes:
        """Raises UpstreamError for an exception, GarbledReply for what the format does not allow."""
        if event.failed:
            raise error_from_event(event)
        if event.truncated:
            self._cut = True
        act = _ACTS.get(event.event)
        if act is None or self.state.complete or event.truncated:
            return b""
        try:
            fields = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            fields = None
        if not isinstance(fields, dict):
            raise GarbledReply("The provider's stream has an event that is not a JSON object.")
        try:
            return act(self, fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error_in_shape:
            raise GarbledReply("The provider's stream has an event of an unexpected shape.") from error_in_shape

    def close(self) -> bytes:
        """With a stop reason the answer is whole, also without the usage that follows it."""
        return b"" if self.state.complete or self._cut else self._chunks.end()

    def _begin(self, _fields: Json) -> bytes:
        return self._chunks.begin(completion_id(self._call), self._call.upstream_model)

    def _begin_block(self, fields: Json) -> bytes:
        start: Mapping[str, Any] = fields["start"]
        # Only calls are announced; other blocks begin with their first delta.
        return (
            self._chunks.begin_block(fields["contentBlockIndex"], tool_use(start["toolUse"]))
            if "toolUse" in start
            else b""
        )

    def _continue_block(self, fields: Json) -> bytes:
        key = fields["contentBlockIndex"]
        delta: Mapping[str, Any] = fields["delta"]
        out = b""
        for kind, value in delta.items():
            match kind:
                case "text":
                    out += self._begun(key, "text") + self._chunks.text(value)
                case "toolUse":
                    out += self._chunks.arguments(key, value["input"])
                case "reasoningContent":
                    out += self._think(key, value)
                case "citation":
                    out += self._begun(key, "text")
                    self._chunks.cite(key, value)
        return out

    def _begun(self, key: Any, kind: str) -> bytes:
        return self._chunks.begin_block(key, {"type": kind}) if self._chunks.begins(key) else b""

    def _think(self, key: Any, value: Mapping[str, Any]) -> bytes:
        if "redactedContent" in value:
            return self._begun(key, "redacted_thinking") + self._chunks.thought(key, "data", value["redactedContent"])
        out = self._begun(key, "thinking")
        for name, part in (("thinking", value.get("text")), ("signature", value.get("signature"))):
            if part is not None:
                out += self._chunks.thought(key, name, part)
        return out

    def _end_block(self, fields: Json) -> bytes:
        key = fields["contentBlockIndex"]
        # A block without a single delta, or of a kind that is passed over, was never begun.
        return b"" if self._chunks.begins(key) else self._chunks.end_block(key)

    def _finish(self, fields: Json) -> bytes:
        return self._chunks.finish(finish_reason(fields.get("stopReason")))

    def _end(self, fields: Json) -> bytes:
        self.state.service_tier = service_tier(fields)
        self.state.usage = read_usage(fields.get("usage"))
        return self._chunks.end()


_ACTS: Final[Mapping[bytes | None, Callable[[ConverseStream, Json], bytes]]] = {
    b"messageStart": ConverseStream._begin,  # noqa: SLF001 - the table of this class's own acts
    b"contentBlockStart": ConverseStream._begin_block,  # noqa: SLF001 - as above
    b"contentBlockDelta": ConverseStream._continue_block,  # noqa: SLF001 - as above
    b"contentBlockStop": ConverseStream._end_block,  # noqa: SLF001 - as above
    b"messageStop": ConverseStream._finish,  # noqa: SLF001 - as above
    b"metadata": ConverseStream._end,  # noqa: SLF001 - as above
}
