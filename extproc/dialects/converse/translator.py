"""OpenAI chat to Converse and back: the four directions behind the dialect's one seam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from extproc.dialects.aws_errors import error_from_reply
from extproc.dialects.base import ClientReply, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.dialects.converse.features import SUPPORT, support_of
from extproc.dialects.converse.request import encode_request
from extproc.dialects.converse.response import decode_converse
from extproc.dialects.converse.stream import ConverseStream
from extproc.errors import UpstreamError
from extproc.openai.call import Call
from extproc.openai.features import Support


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverseTranslator:
    """The Translator of Converse and ConverseStream."""

    @property
    def support(self) -> Mapping[str, Support]:
        """See ``extproc.dialects.converse.features``."""
        return SUPPORT

    def support_of(self, model: str) -> Mapping[str, Support]:
        """See ``extproc.dialects.converse.features``."""
        return support_of(model)

    def rewrites(self, call: Call, model: str) -> bool:  # noqa: ARG002 - whatever is called
        """Always: nothing of the client's body can stay as it is."""
        return True

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """See ``extproc.dialects.converse.request``."""
        return encode_request(call, model)

    def decode(self, reply: UpstreamReply, call: Call) -> ClientReply:
        """See ``extproc.dialects.converse.response``."""
        return decode_converse(reply, call)

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.aws_errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:
        """See ``extproc.dialects.converse.stream``."""
        return ConverseStream(call)
