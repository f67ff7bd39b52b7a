"""OpenAI chat to Gemini's generateContent and back: the four directions behind the dialect's one seam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from extproc.dialects.base import ClientReply, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.dialects.gemini.errors import error_from_reply
from extproc.dialects.gemini.features import support_of, table
from extproc.dialects.gemini.request import encode_request
from extproc.dialects.gemini.response import decode_response
from extproc.dialects.gemini.stream import GeminiStream
from extproc.errors import UpstreamError
from extproc.openai.call import Call
from extproc.openai.features import Support


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiTranslator:
    """The Translator of generateContent. ``cloud``: as Google Cloud has it, which bills by labels, not as AI Studio."""

    cloud: bool = False

    @property
    def support(self) -> Mapping[str, Support]:
        """See ``extproc.dialects.gemini.features``."""
        return table(cloud=self.cloud)

    def support_of(self, model: str) -> Mapping[str, Support]:
        """See ``extproc.dialects.gemini.features``."""
        return support_of(model, cloud=self.cloud)

    def rewrites(self, call: Call, model: str) -> bool:  # noqa: ARG002 - whatever is called
        """Always: nothing of the client's body can stay as it is."""
        return True

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """See ``extproc.dialects.gemini.request``."""
        return encode_request(call, model, cloud=self.cloud)

    def decode(self, reply: UpstreamReply, call: Call) -> ClientReply:
        """See ``extproc.dialects.gemini.response``."""
        return decode_response(reply, call)

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.gemini.errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:
        """See ``extproc.dialects.gemini.stream``."""
        return GeminiStream(call)
