"""What the formats have in common: the client's fields, the count of tokens in a header, AWS's errors."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import orjson

from extproc.dialects.aws_errors import error_from_reply
from extproc.dialects.base import ClientReply, GarbledReply, StreamTranslator, UpstreamReply, UpstreamRequest
from extproc.errors import InternalError, InvalidRequest, UpstreamError
from extproc.openai.call import Call
from extproc.openai.embeddings import check_encoding_format, embeddings_body, input_texts, wanted_dimensions
from extproc.openai.features import Support
from extproc.openai.usage import Usage

Json = dict[str, Any]
Vectors = list[list[float]]

EXTRA: Final = "bedrock"
"""The client's key for the model's own fields, such as ``{"bedrock": {"input_type": "search_query"}}``."""

_KNOWN: Final = frozenset({"model", "input", "dimensions", "encoding_format", EXTRA})
_COUNT: Final = "x-amzn-bedrock-input-token-count"


class InvokedEmbeddings(ABC):
    """A Translator of embeddings; a format says how its body is written and read."""

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
        extra = fields.get(EXTRA)
        if extra is not None and not isinstance(extra, dict):
            raise InvalidRequest(f"Invalid type for '{EXTRA}': expected an object.", param=EXTRA)
        dropped = sorted(name for name, value in fields.items() if name not in _KNOWN and value is not None)
        return UpstreamRequest(body=orjson.dumps(body | (extra or {})), dropped=tuple(dropped))

    def decode(self, reply: UpstreamReply, call: Call) -> ClientReply:
        """Raises GarbledReply when it is no answer."""
        try:
            fields = orjson.loads(reply.body)
            told = reply.headers.get(_COUNT, "")
            vectors, count = self._read(fields)
            if not all(isinstance(vector, list) for vector in vectors):
                raise TypeError  # noqa: TRY301 - one way out for whatever is no list of vectors
            if count is None and told.isdigit():
                count = int(told)
            usage = None if count is None else Usage(input=count, output=0)
            return ClientReply(body=embeddings_body(vectors, call, usage), usage=usage)
        except (AttributeError, KeyError, TypeError, ValueError, struct.error) as error_in_shape:
            raise GarbledReply("The provider's reply is of an unexpected shape.") from error_in_shape

    def decode_error(self, reply: UpstreamReply) -> UpstreamError:
        """See ``extproc.dialects.aws_errors``."""
        return error_from_reply(reply)

    def stream(self, call: Call) -> StreamTranslator:  # noqa: ARG002 - there is none
        """Nobody streams embeddings: arrival refuses it."""
        raise InternalError("Embeddings do not stream.")

    @abstractmethod
    def _body(self, texts: list[str], dimensions: int | None, model: str) -> Json:
        """The request. Raises UnsupportedFeature."""

    @abstractmethod
    def _read(self, fields: Json) -> tuple[Vectors, int | None]:
        """The vectors, and the count of tokens where the body tells it."""
