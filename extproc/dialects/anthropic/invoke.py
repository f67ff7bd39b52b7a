"""Claude through Bedrock's InvokeModel: Anthropic's own messages, in AWS's event stream and with AWS's errors.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field, replace

import orjson

from extproc.dialects.anthropic.hosting import BEDROCK, Hosting
from extproc.dialects.anthropic.stream import AnthropicStream
from extproc.dialects.anthropic.translator import AnthropicTranslator
from extproc.dialects.aws_errors import error_from_event, error_from_reply
from extproc.dialects.base import GarbledReply, StreamState, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.errors import UpstreamError
from extproc.framing.event_stream import CONTENT_TYPE
from extproc.framing.sse import Event
from extproc.openai.call import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeTranslator(AnthropicTranslator):
    """The Translator of Claude behind InvokeModel and InvokeModelWithResponseStream."""

    hosting: Hosting = field(default=BEDROCK)

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """Anthropic's own body."""
        request = AnthropicTranslator.encode(self, call, model)
        return replace(request, headers=(*request.headers, ("accept", CONTENT_TYPE))) if call.stream else request

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.aws_errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:
        """Anthropic's events inside AWS's."""
        return InvokeStream(call)


class InvokeStream:
    """The StreamTranslator of InvokeModelWithResponseStream: each ``chunk`` holds one of Anthropic's events."""

    __slots__ = ("_cut", "_events", "state")

    def __init__(self, call: Call) -> None:
        self._events = AnthropicStream(call)
        self._cut = False
        self.state: StreamState = self._events.state

    def event(self, event: Event) -> bytes:
        """Raises UpstreamError for an exception, GarbledReply for what the format does not allow."""
        if event.failed:
            raise error_from_event(event)
        self._cut = self._cut or event.truncated
        if event.event != b"chunk" or event.truncated:
            return b""
        try:
            data = b64decode(orjson.loads(event.data)["bytes"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise GarbledReply("The provider's stream has a chunk without the bytes of an event.") from None
        return self._events.event(Event(raw=event.raw, data=data))

    def close(self) -> bytes:
        """With a stop reason the answer is whole."""
        return b"" if self._cut else self._events.close()
