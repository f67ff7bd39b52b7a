"""Embeddings: AI Studio's ``batchEmbedContents`` and Google Cloud's ``predict``, which have little in common.

https://ai.google.dev/api/embeddings and
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from extproc.dialects.base import ClientReply, GarbledReply, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.dialects.gemini.errors import error_from_reply, in_band_error
from extproc.dialects.gemini.response import parse
from extproc.dialects.gemini.usage import read_usage_metadata
from extproc.errors import InternalError, UpstreamError
from extproc.openai.call import Call
from extproc.openai.embeddings import check_encoding_format, embeddings_body, input_texts, wanted_dimensions
from extproc.openai.features import Support
from extproc.openai.usage import Usage

Json = dict[str, Any]
Vectors = list[list[float]]

_KNOWN: Final = frozenset({"model", "input", "dimensions", "encoding_format"})


class _Embeddings:
    """What the two have in common."""

    __slots__ = ()

    @property
    def support(self) -> Mapping[str, Support]:
        """None: the tables are of chat's features."""
        return {}

    def support_of(self, model: str) -> Mapping[str, Support]:  # noqa: ARG002 - the same for every model
        """None: the tables are of chat's features."""
        return {}

    def rewrites(self, call: Call, model: str) -> bool:  # noqa: ARG002 - whatever is called
        """Always: nothing of the client's body can stay as it is."""
        return True

    def encode(self, call: Call, model: str) -> UpstreamRequest:
        """Raises InvalidRequest and UnsupportedFeature."""
        fields = call.fields()
        check_encoding_format(fields)
        body = self._body(input_texts(fields), wanted_dimensions(fields), model)
        dropped = sorted(name for name, value in fields.items() if name not in _KNOWN and value is not None)
        return UpstreamRequest(body=orjson.dumps(body), dropped=tuple(dropped))

    def decode(self, reply: UpstreamReply, call: Call) -> ClientReply:
        """Raises UpstreamError for an error in it, GarbledReply when it is no answer."""
        fields = parse(reply.body, "an empty body" if not reply.body.strip() else "a body that is not a JSON object")
        error = in_band_error(fields)
        if error is not None:
            raise error
        try:
            vectors, usage = self._read(fields)
            return ClientReply(body=embeddings_body(vectors, call, usage), usage=usage)
        except (AttributeError, KeyError, TypeError, ValueError, struct.error) as error_in_shape:
            raise GarbledReply("The provider's reply is of an unexpected shape.") from error_in_shape

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.gemini.errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:  # noqa: ARG002 - there is none
        """Nobody streams embeddings: arrival refuses it."""
        raise InternalError("Embeddings do not stream.")

    def _body(self, texts: list[str], dimensions: int | None, model: str) -> Json:
        raise NotImplementedError

    def _read(self, fields: Json) -> tuple[Vectors, Usage | None]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiEmbeddings(_Embeddings):
    """The Translator of ``models/*:batchEmbedContents``. Older models tell no usage."""

    def _body(self, texts: list[str], dimensions: int | None, model: str) -> Json:
        name = model if "/" in model else f"models/{model}"
        size = {} if dimensions is None else {"outputDimensionality": dimensions}
        return {"requests": [{"model": name, "content": {"parts": [{"text": text}]}, **size} for text in texts]}

    def _read(self, fields: Json) -> tuple[Vectors, Usage | None]:
        vectors = [embedding["values"] for embedding in fields["embeddings"]]
        return vectors, read_usage_metadata(fields.get("usageMetadata"))


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexEmbeddings(_Embeddings):
    """The Translator of ``publishers/google/models/*:predict``."""

    def _body(self, texts: list[str], dimensions: int | None, model: str) -> Json:  # noqa: ARG002 - stands in the path
        size = {} if dimensions is None else {"outputDimensionality": dimensions}
        # Too long a text is an error, as OpenAI has it, and not silently cut.
        return {"instances": [{"content": text} for text in texts], "parameters": {"autoTruncate": False, **size}}

    def _read(self, fields: Json) -> tuple[Vectors, Usage | None]:
        found = [prediction["embeddings"] for prediction in fields["predictions"]]
        counts = [(one.get("statistics") or {}).get("token_count") for one in found]
        known = [int(count) for count in counts if isinstance(count, int | float) and not isinstance(count, bool)]
        usage = Usage(input=sum(known), output=0) if len(known) == len(found) else None
        return [one["values"] for one in found], usage
