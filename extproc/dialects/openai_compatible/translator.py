"""OpenAI to OpenAI: the client's bytes go through untouched, but for the model's name, usage, and a server's quirks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from extproc.dialects.base import ClientReply, GarbledReply, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.dialects.openai_compatible.errors import error_from_reply, in_band_error
from extproc.dialects.openai_compatible.normal import normal_usage, normalise_choices
from extproc.dialects.openai_compatible.quirks import Quirks, changes_for, support_table
from extproc.dialects.openai_compatible.stream import OpenAIStream
from extproc.errors import UpstreamError
from extproc.openai.call import Call
from extproc.openai.features import Support
from extproc.openai.json_text import member, splice
from extproc.openai.tool_call_id import without_carried

NO_QUIRKS: Final = Quirks()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAITranslator:
    """The Translator of a compatible server.

    ``asks_usage``: whether it knows ``stream_options``. Where it does not, usage is taken from wherever it comes;
    ``usage_in`` names a member of a chunk that also holds one.
    """

    asks_usage: bool = True
    usage_in: str | None = None
    quirks: Quirks = NO_QUIRKS

    @property
    def support(self) -> Mapping[str, Support]:
        """Empty without quirks: the server judges what it is sent."""
        return support_table(self.quirks)

    def support_of(self, model: str) -> Mapping[str, Support]:  # noqa: ARG002 - the same for every model
        """The same for every model."""
        return support_table(self.quirks)

    def rewrites(self, call: Call, model: str) -> bool:
        """A call for a model whose name needs no change, unstreamed or asking for usage itself, goes as it came.

        With quirks only the body tells.
        """
        if call.carries or self.quirks is not NO_QUIRKS:
            return True
        return model != call.model or (call.stream and not (self.asks_usage and call.include_usage))

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """Splice ``model`` where the names differ and ``stream_options.include_usage`` into a stream that lacks it.

        https://platform.openai.com/docs/api-reference/chat/create#chat-create-stream_options
        Raises UnsupportedFeature for what the server would refuse.
        """
        body = without_carried(call.body) if call.carries else call.body
        changes: dict[str, bytes | None] = {}
        dropped: tuple[str, ...] = ()
        if self.quirks is not NO_QUIRKS:
            changes, dropped = changes_for(replace(call, body=body).fields(), self.quirks)
        if model != call.model:
            changes["model"] = orjson.dumps(model)
        if not self.asks_usage:
            changes["stream_options"] = None
        elif call.stream and not call.include_usage:
            changes["stream_options"] = _with_usage(body)
        if not changes:
            return UpstreamRequest(body=body if call.carries else None, dropped=dropped)
        return UpstreamRequest(body=splice(body, changes), dropped=dropped)

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
        changes: dict[str, bytes | None] = {}
        if isinstance(served, str) and served != call.model:
            changes["model"] = orjson.dumps(call.model)
        choices = fields.get("choices")
        if normalise_choices(choices):
            changes["choices"] = orjson.dumps(choices)
        usage, shown = normal_usage(fields.get("usage"))
        if shown is not None:
            changes["usage"] = shown
        return ClientReply(
            body=splice(reply.body, changes) if changes else reply.body,
            usage=usage,
            model=served if isinstance(served, str) else None,
            service_tier=tier if isinstance(tier, str) else None,
        )

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.openai_compatible.errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:
        """See ``extproc.dialects.openai_compatible.stream``."""
        return OpenAIStream(call, usage_in=self.usage_in)


def _with_usage(body: bytes) -> bytes:
    """The client's stream options, if any, and the wish for usage. A name spelled with escapes is still that name."""
    might_have_options = b"stream_options" in body or b"\\u" in body
    given = member(body, "stream_options") if might_have_options else None
    options: dict[str, Any] = (orjson.loads(given) if given else None) or {}
    return orjson.dumps({**options, "include_usage": True})


def _not_json(reply: UpstreamReply) -> str:
    what = "an empty body" if not reply.body.strip() else "a body that is not JSON"
    return f"The provider answered with status {reply.status} and {what}."
