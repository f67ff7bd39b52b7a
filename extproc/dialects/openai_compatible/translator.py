"""OpenAI to OpenAI: the client's bytes go through untouched except for the model's name and the wish for usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from extproc.dialects.base import ClientReply, GarbledReply, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.dialects.openai_compatible.errors import error_from_reply, in_band_error
from extproc.dialects.openai_compatible.stream import OpenAIStream
from extproc.errors import UpstreamError
from extproc.openai.call import Call
from extproc.openai.features import Support
from extproc.openai.json_text import member, splice
from extproc.openai.tool_call_id import without_carried
from extproc.openai.usage import read_usage


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAITranslator:
    """The Translator of a compatible server.

    ``asks_usage``: whether it knows ``stream_options``. Where it does not, usage is taken from wherever it comes.
    """

    asks_usage: bool = True

    @property
    def support(self) -> Mapping[str, Support]:
        """Empty: the server judges what it is sent."""
        return {}

    def support_of(self, model: str) -> Mapping[str, Support]:  # noqa: ARG002 - the same for every model
        """Empty."""
        return {}

    def rewrites(self, call: Call, model: str) -> bool:
        """A call for a model whose name needs no change, unstreamed or asking for usage itself, goes as it came."""
        if call.carries:
            return True
        return model != call.model or (call.stream and not (self.asks_usage and call.include_usage))

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """Splice ``model`` where the names differ and ``stream_options.include_usage`` into a stream that lacks it.

        https://platform.openai.com/docs/api-reference/chat/create#chat-create-stream_options
        """
        body = without_carried(call.body) if call.carries else call.body
        changes: dict[str, bytes | None] = {}
        if model != call.model:
            changes["model"] = orjson.dumps(model)
        if call.stream and not self.asks_usage:
            changes["stream_options"] = None
        elif call.stream and not call.include_usage:
            changes["stream_options"] = _with_usage(body)
        if not changes:
            return UpstreamRequest(body=body if call.carries else None)
        return UpstreamRequest(body=splice(body, changes))

    def decode(self, reply: UpstreamReply, call: Call) -> ClientReply:
        """Read usage and give the model back the name the client used for it."""
        try:
            fields = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            raise GarbledReply(_not_json(reply)) from None
        if not isinstance(fields, dict):
            message = "The provider's reply is not a JSON object."
            raise GarbledReply(message)
        error = in_band_error(fields)
        if error is not None:
            raise error
        served, tier = fields.get("model"), fields.get("service_tier")
        body = reply.body
        if isinstance(served, str) and served != call.model:
            body = splice(body, {"model": orjson.dumps(call.model)})
        return ClientReply(
            body=body,
            usage=read_usage(fields.get("usage")),
            model=served if isinstance(served, str) else None,
            service_tier=tier if isinstance(tier, str) else None,
        )

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.openai_compatible.errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:
        """See ``extproc.dialects.openai_compatible.stream``."""
        return OpenAIStream(call)


def _with_usage(body: bytes) -> bytes:
    """The client's stream options, if any, and the wish for usage. A name spelled with escapes is still that name."""
    might_have_options = b"stream_options" in body or b"\\u" in body
    given = member(body, "stream_options") if might_have_options else None
    options: dict[str, Any] = (orjson.loads(given) if given else None) or {}
    return orjson.dumps({**options, "include_usage": True})


def _not_json(reply: UpstreamReply) -> str:
    what = "an empty body" if not reply.body.strip() else "a body that is not JSON"
    return f"The provider answered with status {reply.status} and {what}."
