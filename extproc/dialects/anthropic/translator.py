"""OpenAI chat to Anthropic's Messages API and back: the four directions behind the dialect's one seam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from extproc.dialects.anthropic.errors import error_from_reply
from extproc.dialects.anthropic.features import SUPPORT, support_of
from extproc.dialects.anthropic.hosting import ANTHROPIC, Hosting
from extproc.dialects.anthropic.request import encode_request
from extproc.dialects.anthropic.response import decode_message
from extproc.dialects.anthropic.stream import AnthropicStream
from extproc.dialects.base import ClientReply, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.errors import UpstreamError
from extproc.openai.call import Call
from extproc.openai.features import Support


@dataclass(frozen=True, slots=True, kw_only=True)
class AnthropicTranslator:
    """The Translator of the Messages API."""

    hosting: Hosting = ANTHROPIC

    @property
    def support(self) -> Mapping[str, Support]:
        """See ``extproc.dialects.anthropic.features``."""
        return SUPPORT

    def support_of(self, model: str) -> Mapping[str, Support]:
        """See ``extproc.dialects.anthropic.features``."""
        return support_of(model, fetches=self.hosting.fetches)

    def rewrites(self, call: Call, model: str) -> bool:  # noqa: ARG002 - whatever is called
        """Always: nothing of the client's body can stay as it is."""
        return True

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """See ``extproc.dialects.anthropic.request``."""
        return encode_request(call, model, self.hosting)

    def decode(self, reply: UpstreamReply, call: Call) -> ClientReply:
        """See ``extproc.dialects.anthropic.response``."""
        return decode_message(reply, call)

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.anthropic.errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:
        """See ``extproc.dialects.anthropic.stream``."""
        return AnthropicStream(call)
