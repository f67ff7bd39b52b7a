"""Embeddings as OpenAI's clients ask for them and read them: https://platform.openai.com/docs/api-reference/embeddings"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from extproc.errors import InvalidRequest, UnsupportedFeature
from extproc.openai.call import Call
from extproc.openai.usage import Usage

_FORMATS: Final = (None, "float", "base64")


def input_texts(fields: Mapping[str, Any]) -> list[str]:
    """The texts of ``input``. Raises InvalidRequest, and UnsupportedFeature for tokens, which are OpenAI's own."""
    given = fields.get("input")
    entries = given if isinstance(given, list) else [given]
    texts = [text for text in entries if isinstance(text, str)]
    if texts and len(texts) == len(entries):
        return texts
    if all(isinstance(text, int | list) for text in entries):
        raise UnsupportedFeature("This provider takes texts, not arrays of tokens.", param="input")
    raise InvalidRequest("Invalid type for 'input': expected a string or an array of strings.", param="input")


def wanted_dimensions(fields: Mapping[str, Any]) -> int | None:
    """``dimensions``. Raises InvalidRequest."""
    value = fields.get("dimensions")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise InvalidRequest("Invalid value for 'dimensions': expected a positive integer.", param="dimensions")
    return value


def check_encoding_format(fields: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for another than ``float`` and ``base64``."""
    if fields.get("encoding_format") not in _FORMATS:
        message = "Invalid value for 'encoding_format': expected float or base64."
        raise InvalidRequest(message, param="encoding_format")


def embeddings_body(vectors: Sequence[Sequence[float]], call: Call, usage: Usage | None) -> bytes:
    """The list of embeddings, in the client's format; without ``usage`` where the provider told none."""
    body: dict[str, Any] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": packed(vector) if call.base64 else vector}
            for index, vector in enumerate(vectors)
        ],
        "model": call.model,
    }
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage.input, "total_tokens": usage.input}
    return orjson.dumps(body)


def packed(vector: Sequence[float]) -> str:
    """Base64 of 32-bit floats, little-endian: what OpenAI's Python client asks for when nobody says anything."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
