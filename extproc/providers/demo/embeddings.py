"""``/v1/embeddings`` as the demo model answers it: unit vectors; texts with words in common are near each other.

Each word adds to, or takes from, a few coordinates that its hash picks. The sum is scaled to length 1 and rounded to
32-bit floats, so that both encodings say the same numbers.
https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

import struct
from base64 import b64encode
from hashlib import blake2b
from math import hypot
from typing import Final

import orjson

from extproc.dialects.base import ClientReply
from extproc.errors import InvalidRequest
from extproc.openai.call import Call
from extproc.openai.usage import Usage
from extproc.providers.demo.inputs import read_inputs
from extproc.providers.demo.request_fields import an_integer, one_of
from extproc.providers.demo.tokens import count_tokens, words

_DIMENSIONS: Final = 256
_MOST_DIMENSIONS: Final = 1_536
_MOST_TOKENS: Final = 300_000
"""In one request, as OpenAI has it: hashing every word takes a while."""
_HASH: Final = struct.Struct("<4I")
"""Of each word: so many coordinates."""


def answer_embeddings(call: Call, model: str) -> ClientReply:
    """The vectors of one or more inputs. Raises InvalidRequest."""
    fields = call.fields()
    inputs = read_inputs(fields["input"], "input")
    dimensions, encoding = fields.get("dimensions"), fields.get("encoding_format")
    size = _DIMENSIONS
    if dimensions is not None:
        size = an_integer(dimensions, "dimensions", minimum=1, maximum=_MOST_DIMENSIONS)
    as_base64 = encoding is not None and one_of(encoding, "encoding_format", ("float", "base64")) == "base64"
    usage = Usage(input=sum(map(count_tokens, inputs)), output=0)
    if usage.input > _MOST_TOKENS:
        message = (
            f"Invalid 'input': maximum request size is {_MOST_TOKENS} tokens, but got {usage.input} tokens instead."
        )
        raise InvalidRequest(message, param="input")
    vectors = (_pack(_vector(text, size)) for text in inputs)
    embeddings = [_written(vector, as_base64=as_base64) for vector in vectors]
    body = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": given} for index, given in enumerate(embeddings)],
        "model": call.model,
        "usage": {"prompt_tokens": usage.input, "total_tokens": usage.input},
    }
    return ClientReply(body=orjson.dumps(body), usage=usage, model=model)


def _vector(text: str, size: int) -> list[float]:
    """A unit vector; a text without words is one word by itself."""
    vector = [0.0] * size
    for word in words(text) or [text]:
        for number in _HASH.unpack(blake2b(word.encode(), digest_size=_HASH.size).digest()):
            vector[(number >> 1) % size] += 1.0 if number & 1 else -1.0
    length = hypot(*vector)
    if not length:
        vector[0] = length = 1.0  # the words took away what others had added, as they may in few dimensions
    return [coordinate / length for coordinate in vector]


def _pack(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def _written(vector: bytes, *, as_base64: bool) -> str | tuple[float, ...]:
    if as_base64:
        return b64encode(vector).decode()
    return struct.unpack(f"<{len(vector) // 4}f", vector)
