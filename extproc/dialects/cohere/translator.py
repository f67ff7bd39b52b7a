"""OpenAI chat to Cohere's chat and back: the four directions behind the dialect's one seam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from extproc.dialects.base import ClientReply, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.dialects.cohere.errors import error_from_reply
from extproc.dialects.cohere.features import SUPPORT
from extproc.dialects.cohere.request import encode_request
from extproc.dialects.cohere.response import decode_message
from extproc.dialects.cohere.stream import CohereStream
from extproc.errors import UpstreamError
from extproc.openai.call import Call
from extproc.openai.features import Support


@dataclass(frozen=True, slots=True, kw_only=True)
class CohereTranslator:
    """The Translator of ``POST /v2/chat``."""

    @property
    def support(self) -> Mapping[str, Support]:
        """See ``extproc.dialects.cohere.features``."""
        return SUPPORT

    def support_of(self, model: str) -> Mapping[str, Support]:  # noqa: ARG002 - the same for every model
        """See ``extproc.dialects.cohere.features``."""
        return SUPPORT

    def rewrites(self, call: Call, model: str) -> bool:  # noqa: ARG002 - whatever is called
        """Always: nothing of the client's body can stay as it is."""
        return True

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """See ``extproc.dialects.cohere.request``."""
        return encode_request(call, model)

    def decode(self, reply: UpstreamReply, call: Call) -> ClientReply:
        """See ``extproc.dialects.cohere.response``."""
        return decode_message(reply, call)

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.cohere.errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:
        """See ``extproc.dialects.cohere.stream``."""
        return CohereStream(call)
