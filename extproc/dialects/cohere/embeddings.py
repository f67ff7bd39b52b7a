"""OpenAI's embeddings through ``POST /v2/embed``: https://docs.cohere.com/reference/embed"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.dialects.base import ClientReply, GarbledReply, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.dialects.cohere.errors import error_from_reply
from extproc.dialects.cohere.features import EXTRA
from extproc.errors import InternalError, InvalidRequest, UpstreamError
from extproc.openai.call import Call
from extproc.openai.embeddings import check_encoding_format, input_texts, wanted_dimensions
from extproc.openai.features import Support
from extproc.openai.usage import Usage

Json = dict[str, Any]

_DEFAULT_INPUT_TYPE: Final = "search_document"
"""The provider wants to know what for; OpenAI's clients do not say. Queries say ``{"cohere": {"input_type": …}}``."""
_OURS: Final = frozenset({"model", "texts", "embedding_types"})
_KNOWN: Final = frozenset({"model", "input", "dimensions", "encoding_format", EXTRA})


@dataclass(frozen=True, slots=True, kw_only=True)
class CohereEmbeddings:
    """The Translator of ``POST /v2/embed``."""

    @property
    def support(self) -> Mapping[str, Support]:
        """Of chat requests: none of them come here."""
        return {}

    def support_of(self, model: str) -> Mapping[str, Support]:  # noqa: ARG002 - as above
        """As above."""
        return {}

    def rewrites(self, call: Call, model: str) -> bool:  # noqa: ARG002 - whatever is called
        """Always."""
        return True

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """Raises InvalidRequest and UnsupportedFeature."""
        fields = call.fields()
        check_encoding_format(fields)
        own = fields.get(EXTRA) or {}
        if not isinstance(own, dict) or _OURS & own.keys():
            raise InvalidRequest(
                f"Invalid value for '{EXTRA}': use OpenAI's fields for {', '.join(_OURS)}.", param=EXTRA
            )
        body: Json = {
            "model": model,
            "input_type": _DEFAULT_INPUT_TYPE,
            "embedding_types": ["base64" if call.base64 else "float"],
            "output_dimension": wanted_dimensions(fields),
            **own,
            "texts": input_texts(fields),
        }
        written = {name: value for name, value in body.items() if value is not None}
        dropped = sorted(name for name, value in fields.items() if name not in _KNOWN and value is not None)
        return UpstreamRequest(body=orjson.dumps(written), dropped=tuple(dropped))

    def decode(self, reply: UpstreamReply, call: Call) -> ClientReply:
        """A vector, or its base64, for each text. Raises GarbledReply."""
        try:
            fields = orjson.loads(reply.body)
            vectors = fields["embeddings"]["base64" if call.base64 else "float"]
            data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(vectors)]
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as problem:
            raise GarbledReply("The provider's reply holds no embeddings.") from problem
        usage = _usage(fields)
        body: Json = {"object": "list", "data": data, "model": call.model}
        if usage is not None:
            body["usage"] = {"prompt_tokens": usage.input, "total_tokens": usage.input}
        return ClientReply(body=orjson.dumps(body), usage=usage)

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.cohere.errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:  # noqa: ARG002 - refused before
        """Embeddings do not stream."""
        raise InternalError("Embeddings cannot be streamed.")


def _usage(fields: Json) -> Usage | None:
    meta = fields.get("meta")
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    tokens = billed.get("input_tokens") if isinstance(billed, dict) else None
    return Usage(input=int(tokens), output=0) if isinstance(tokens, int | float) else None
